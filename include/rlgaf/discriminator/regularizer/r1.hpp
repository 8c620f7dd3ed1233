#pragma once
#include "rlgaf/discriminator/regularizer/input_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Keeps the discriminator flat where the demonstrations are: the first thing to add when it wins too early.
/// Formula: L = gamma / 2 mean over demonstrations of n^2, n = |d score / d input|.
/// Shapes:  norm, slope [n].
/// Adds:    slope += gamma n / rows.
/// Units:   an input is what the discriminator reads after its embedding; a long row has more of them and a larger norm.
/// Errors:  shape_error; option_error.
/// Needs:   a scorer that perturbs_inputs. A trainable embedding can shrink the penalty by growing: cap it, or freeze it.
/// Source:  Mescheder et al. 2018, arXiv 1801.04406; with relativistic losses: Huang et al. 2024, arXiv 2501.05441.
struct r1 {
    using role = role::input_penalty;
    static constexpr penalty_place place = penalty_place::real;
    double gamma = 1;  ///< >= 0; 0.05 to 150 are in use

    void check() const { detail::check_not_negative(gamma, "r1", "gamma"); }

    penalty_stats operator()(std::span<const double> norm, std::span<double> slope) const {
        check();
        return detail::penalize_norms(norm, slope, "r1", [&](double n) {
            return detail::penalty_of_norm{gamma / 2 * n * n, gamma * n};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
