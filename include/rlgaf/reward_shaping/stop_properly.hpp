#pragma once
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Truncated rows earn less: their outcomes are multiplied, or replaced. Changes the outcomes that stand before it.
/// Formula: coefficient >= 0: every outcome of a truncated row *= coefficient. Below 0: the first outcome that applies
///          to it becomes the coefficient and the others 0, so that the row earns just that.
/// Units:   a factor, or a reward. Survival bias: towards rows that end by themselves. A factor below 1 makes a
///          negative reward better: give it rewards that are 0 or positive.
/// Degenerate: NaN ("does not apply") stays.
/// Errors:  shape_error; option_error.
/// Source:  OpenRLHF's stop_properly_penalty_coef, after Liu et al. 2025, arXiv 2505.24864 (ProRL).
struct stop_properly {
    using role = role::reward;
    double coefficient = 0;  ///< finite, at most 1

    void check() const {
        detail::check_option(coefficient > -std::numeric_limits<double>::infinity() && coefficient <= 1,
                             "stop_properly", "coefficient", "a finite number of at most 1", coefficient);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_size(terms.truncated.size(), out.rows(), "stop_properly", "terms.truncated");
        for (std::size_t i = 0; i < out.rows(); ++i) {
            if (!terms.truncated[i]) continue;
            double replacement = coefficient;
            for (std::size_t k = 0; k < out.outcomes(); ++k) {
                double& r = out.outcome(k)[i];
                if (coefficient >= 0) {
                    r *= coefficient;
                } else if (!is_nan(&r)) {
                    r = replacement;
                    replacement = 0;
                }
            }
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
