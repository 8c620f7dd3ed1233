#pragma once
#include "rlgaf/discriminator/regularizer/input_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Wasserstein divergence: a power of the slope between demonstrations and samples, without a target for it.
/// Formula: L = k mean of n^power, n = |d score / d input| at real + e (fake - real), e even in [0, 1), one a row.
/// Shapes:  norm, slope [n].
/// Adds:    slope += k power n^(power - 1) / rows.
/// Errors:  shape_error; option_error.
/// Needs:   a scorer that perturbs_inputs.
/// Source:  Wu et al. 2018, arXiv 1712.01026.
struct wgan_div {
    using role = role::input_penalty;
    static constexpr penalty_place place = penalty_place::between;
    double k = 2;      ///< >= 0
    double power = 6;  ///< > 1

    void check() const {
        detail::check_not_negative(k, "wgan_div", "k");
        detail::check_option(power > 1 && power < std::numeric_limits<double>::infinity(), "wgan_div", "power",
                             "above 1 and finite", power);
    }

    penalty_stats operator()(std::span<const double> norm, std::span<double> slope) const {
        check();
        return detail::penalize_norms(norm, slope, "wgan_div", [&](double n) {
            const double lower = std::pow(n, power - 1);
            return detail::penalty_of_norm{k * lower * n, k * power * lower};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
