#pragma once
#include "rlgaf/math/moments.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Each outcome that stands before it to mean 0 (unless keep_mean) and deviation 1 over the rows of the step:
/// whitening.
/// Formula: r = (r - mean) / deviation [+ mean], n - 1 in the denominator of the variance.
/// Units:   deviations. Survival bias: none, outcomes are paid once a row.
/// Degenerate: outcomes that are all equal, or a single one, become the mean that is left: exactly 0, or themselves.
///          NaN ("does not apply") takes no part and stays.
/// Errors:  none.
/// Source:  the whitening of TRL's PPO (rewards with keep_mean) and verl.
struct batch_normalize {
    using role = role::reward;
    bool keep_mean = false;  ///< only scale about the mean
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        for (std::size_t k = 0; k < out.outcomes(); ++k) {
            const std::span<double> r = out.outcome(k);
            const moments m = moments_of(r);
            const double scale = is_constant(m.deviation(), m.mean) ? 0 : 1 / m.deviation();
            const double left = keep_mean ? m.mean : 0;
            for (double& v : r) v = (v - m.mean) * scale + left;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
