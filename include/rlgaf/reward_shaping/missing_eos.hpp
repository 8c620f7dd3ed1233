#pragma once
#include "rlgaf/reward_shaping/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Takes `penalty` from rows that ran out of length before they ended. Adds the outcome "missing_eos" [B].
/// Errors: shape_error; option_error.
/// Survival bias: against rows that do not end within the limit, and only there.
/// Source: TRL's missing_eos_penalty; Huang et al. 2024, arXiv 2403.17031.
struct missing_eos {
    using role = role::reward;
    double penalty = 1;  ///< >= 0

    void check() const { detail::check_option(penalty >= 0, "missing_eos", "penalty", "0 or positive", penalty); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_size(terms.truncated.size(), out.rows(), "missing_eos", "terms.truncated");
        const std::span<double> r = out.add_outcome("missing_eos");
        for (std::size_t i = 0; i < r.size(); ++i) r[i] = terms.truncated[i] ? -penalty : 0;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
