#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "rlgaf/core/finite.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Deterministic policy gradient of one continuous action: up the critic's slope. For a policy that emits the action
/// itself and a critic that can be differentiated by it.
/// Formula: g = d critic / d action, scaled down to the Euclidean length max_norm where it is longer;
///          L = |target - action|^2 / 2, target = action + g held constant.
/// Shapes:  slope, d_action [D], D the numbers of one action. Returns L = |g|^2 / 2, without the weight.
/// Adds:    d_action += -weight g.
/// Units:   slope: critic's value by action. L is no measure of progress: it is large where the critic is steep.
/// Degenerate: no numbers, or a slope of 0: L = 0.
/// Errors:  shape_error; option_error; numeric_error for a slope that is not finite. No allocation.
/// Source:  Silver et al. 2014, theorem 1; rlax dpg_loss (dqda_clipping: max_norm).
struct dpg {
    double max_norm = 0;  ///< >= 0; 0: no limit

    void check() const { detail::check_option(max_norm >= 0, "dpg", "max_norm", "0 or positive", max_norm); }

    template <class T>
    double operator()(std::span<const T> slope, double weight, std::span<T> d_action) const {
        check();
        detail::check_size(d_action.size(), slope.size(), "dpg", "d_action");
        detail::check_finite(slope, "dpg", "slope");
        double largest = 0, squares = 0;
        for (const T s : slope) largest = std::fmax(largest, std::abs(static_cast<double>(s)));
        if (largest == 0) return 0;
        for (const T s : slope) squares += static_cast<double>(s) / largest * (static_cast<double>(s) / largest);
        const double norm = largest * std::sqrt(squares);
        const double scale = max_norm > 0 && norm > max_norm ? max_norm / norm : 1;
        for (std::size_t k = 0; k < slope.size(); ++k)
            d_action[k] -= static_cast<T>(weight * scale * static_cast<double>(slope[k]));
        return 0.5 * (scale * norm) * (scale * norm);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
