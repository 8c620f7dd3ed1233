#pragma once
#include "rlgaf/discriminator/regularizer/gradient_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A slope of 1 around the demonstrations.
/// Formula: L = lambda mean of (n - 1)^2, n = |d score / d input| at real + d, d normal of deviation sigma.
/// Shapes:  norm, slope [n].
/// Adds:    slope += 2 lambda (n - 1) / rows.
/// At kinks: a gradient of at most 1e-12 has no direction and is left alone.
/// Units:   sigma in units of the inputs; the paper draws evenly up to half of their deviation.
/// Errors:  shape_error; option_error.
/// Needs:   a scorer that perturbs_inputs.
/// Source:  Kodali et al. 2017, arXiv 1705.07215.
struct dragan {
    using role = role::input_penalty;
    static constexpr penalty_place place = penalty_place::around_real;
    double lambda = 10;  ///< >= 0
    double sigma = 0.3;  ///< > 0

    void check() const {
        detail::check_not_negative(lambda, "dragan", "lambda");
        detail::check_positive(sigma, "dragan", "sigma");
    }

    penalty_stats operator()(std::span<const double> norm, std::span<double> slope) const {
        check();
        return gradient_penalty{.lambda = lambda}(norm, slope);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
