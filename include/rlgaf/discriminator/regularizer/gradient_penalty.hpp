#pragma once
#include "rlgaf/discriminator/regularizer/input_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pulls the slope between demonstrations and samples to 1: WGAN-GP. Goes with `wgan`.
/// Formula: L = lambda mean of (n - 1)^2 (one_sided: max(0, n - 1)^2), n = |d score / d input| at
///          real + e (fake - real), e even in [0, 1), one a row, at the positions that both rows have.
/// Shapes:  norm, slope [n].
/// Adds:    slope += 2 lambda (n - 1) / rows, or 0 below 1 where one-sided.
/// At kinks: a gradient of at most 1e-12 has no direction and is left alone.
/// Units:   the norm is that of all inputs of a row together.
/// Errors:  shape_error; option_error.
/// Needs:   a scorer that perturbs_inputs. Points between embeddings are no texts: a regulariser, not a Lipschitz proof.
/// Source:  Gulrajani et al. 2017, arXiv 1704.00028; one-sided: Petzka et al. 2018, arXiv 1709.08894.
struct gradient_penalty {
    using role = role::input_penalty;
    static constexpr penalty_place place = penalty_place::between;
    double lambda = 10;      ///< >= 0
    bool one_sided = false;  ///< slopes below 1 are let be

    void check() const { detail::check_not_negative(lambda, "gradient_penalty", "lambda"); }

    penalty_stats operator()(std::span<const double> norm, std::span<double> slope) const {
        check();
        return detail::penalize_norms(norm, slope, "gradient_penalty", [&](double n) {
            const double excess = one_sided && n < 1 ? 0 : n - 1;
            return detail::penalty_of_norm{lambda * excess * excess, 2 * lambda * excess};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
