#pragma once
#include "rlgaf/discriminator/regularizer/input_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// r1 from differences of scores: the cheapest of the penalties, two forward and two backward passes.
/// Formula: L = lambda mean over demonstrations of (s(x) - s(x + d))^2, d normal of deviation sigma. To first order
///          lambda sigma^2 n^2, n = |d score / d input|: r1 with gamma = 2 lambda sigma^2.
/// Shapes:  score, moved, d_score, d_moved [n].
/// Adds:    d_score += 2 lambda (s - s') / n;  d_moved += -2 lambda (s - s') / n.
/// Reports: norm = sqrt(pi / 2) mean |s - s'| / sigma, an estimate of mean n: |normal number| is sqrt(2 / pi) on average.
/// Units:   sigma in units of the inputs.
/// Errors:  shape_error; option_error.
/// Needs:   a scorer that perturbs_inputs.
/// Source:  Roth et al. 2017, arXiv 1705.09367 (noise as a penalty); Lin et al. 2025, arXiv 2501.08316 (approximated R1).
struct approximate_r1 {
    using role = role::input_penalty;
    static constexpr penalty_place place = penalty_place::real;
    double lambda = 100;  ///< >= 0
    double sigma = 0.1;   ///< > 0; 0.01 to 0.1 are usual

    void check() const {
        detail::check_not_negative(lambda, "approximate_r1", "lambda");
        detail::check_positive(sigma, "approximate_r1", "sigma");
    }

    template <class T>
    penalty_stats operator()(std::span<const T> score, std::span<const T> moved, std::span<T> d_score,
                             std::span<T> d_moved) const {
        check();
        detail::check_size(moved.size(), score.size(), "approximate_r1", "moved");
        detail::check_size(d_score.size(), score.size(), "approximate_r1", "d_score");
        detail::check_size(d_moved.size(), score.size(), "approximate_r1", "d_moved");
        penalty_stats stats;
        const double share = 1 / static_cast<double>(score.size());
        constexpr double root_half_pi = 1.2533141373155003;
        for (std::size_t i = 0; i < score.size(); ++i) {
            const double gap = static_cast<double>(score[i]) - static_cast<double>(moved[i]);
            stats.loss += lambda * share * gap * gap;
            stats.norm += share * root_half_pi * std::abs(gap) / sigma;
            d_score[i] += static_cast<T>(2 * lambda * share * gap);
            d_moved[i] -= static_cast<T>(2 * lambda * share * gap);
        }
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
