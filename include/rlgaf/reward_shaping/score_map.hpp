#pragma once
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// From a score to a reward, for stages that pay tokens; for whole rows each has a stage in score_reward.hpp. Survival
/// bias: d and neg_log_one_minus_d make rows longer, log_d shorter, two_d_minus_one and logit neither at a score of 0.
enum class score_map { logit, d, two_d_minus_one, log_d, neg_log_one_minus_d };

/// Calls f(map) with the map as a formula without branches.
template <class F>
decltype(auto) with_score_map(score_map map, F&& f) {
    switch (map) {
        case score_map::d:
            return f([](auto s) { return sigmoid(s); });
        case score_map::two_d_minus_one:
            return f([](auto s) { return 2 * sigmoid(s) - 1; });
        case score_map::log_d:
            return f([](auto s) { return log_sigmoid(s); });
        case score_map::neg_log_one_minus_d:
            return f([](auto s) { return softplus(s); });
        case score_map::logit:
            break;
    }
    return f([](auto s) { return s; });
}

template <std::floating_point T>
T map_score(score_map map, T s) noexcept {
    return with_score_map(map, [s](auto reward) { return reward(s); });
}

}  // namespace rlgaf::inline RLGAF_ABI
