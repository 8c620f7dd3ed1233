#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "rlgaf/core/finite.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Value of a prompt under the best policy that stays near the reference, from rewards of the reference's own answers.
/// Formula: V* = temperature log(mean of exp(R_k / temperature)): towards 0 the best R_k, towards infinity their mean.
/// Shapes:  reward [K]; NaN elements do not take part.
/// Degenerate: no reward: NaN. All equal: that reward, exactly.
/// Errors:  option_error unless temperature is finite and > 0.
/// Needs:   answers of the reference policy, drawn once for each prompt (8 in the paper). As the baseline R - V* of a
///          policy gradient hand it to remax in place of the greedy reward. No estimator takes V* from the step's own
///          rows: it would exceed their mean and push the answers down on the whole.
/// Source:  Brantley et al. 2025, arXiv 2505.20686: temperature is its beta_1, 0.5.
inline double astar_value(std::span<const double> reward, double temperature = 0.5) {
    detail::check_option(temperature > 0 && temperature < std::numeric_limits<double>::infinity(), "astar_value",
                         "temperature", "finite and positive", temperature);
    double largest = -std::numeric_limits<double>::infinity(), excess = 0, count = 0;
    for (const double& r : reward)
        if (!is_nan(&r)) {
            largest = std::fmax(largest, r);
            count += 1;
        }
    if (count == 0) return std::numeric_limits<double>::quiet_NaN();
    for (const double& r : reward)
        if (!is_nan(&r)) excess += std::expm1((r - largest) / temperature);
    return largest + temperature * std::log1p(excess / count);
}

}  // namespace rlgaf::inline RLGAF_ABI
