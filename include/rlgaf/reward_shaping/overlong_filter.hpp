#pragma once
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Truncated rows take no part: every outcome that stands before it becomes NaN ("does not apply") on them, so that
/// their token rewards do not count either. For the end of a pipeline: an outcome of a later stage would reward them again.
/// Units:   none. Survival bias: none by itself; rows that are never judged too long may grow.
/// Degenerate: no outcomes before it: it adds "overlong_filter" [B], NaN on truncated rows and 0 on the others.
/// Errors:  shape_error.
/// Source:  Yu et al. 2025, arXiv 2503.14476, section 3.4; TRL's mask_truncated_completions, which also keeps these
///          tokens out of the KL loss and of the mean over tokens: here they only lose their reward and their place in
///          baselines.
struct overlong_filter {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_size(terms.truncated.size(), out.rows(), "overlong_filter", "terms.truncated");
        if (out.outcomes() == 0) out.add_outcome("overlong_filter");
        for (std::size_t k = 0; k < out.outcomes(); ++k)
            for (std::size_t i = 0; i < out.rows(); ++i)
                if (terms.truncated[i]) out.outcome(k)[i] = std::numeric_limits<double>::quiet_NaN();
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
