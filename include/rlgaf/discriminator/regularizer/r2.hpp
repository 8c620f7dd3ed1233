#pragma once
#include "rlgaf/discriminator/regularizer/r1.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// r1 at the samples instead of the demonstrations; the two go together.
/// Formula: L = gamma / 2 mean over samples of n^2, n = |d score / d input|.
/// Shapes, Adds, Units, Errors, Needs: as r1.
/// Source:  Mescheder et al. 2018, arXiv 1801.04406; Huang et al. 2024, arXiv 2501.05441.
struct r2 {
    using role = role::input_penalty;
    static constexpr penalty_place place = penalty_place::fake;
    double gamma = 1;  ///< >= 0

    void check() const { detail::check_not_negative(gamma, "r2", "gamma"); }

    penalty_stats operator()(std::span<const double> norm, std::span<double> slope) const {
        check();
        return r1{.gamma = gamma}(norm, slope);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
