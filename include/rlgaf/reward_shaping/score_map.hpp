#pragma once
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// From a score to a reward, for stages that pay tokens; for whole rows each has a stage in score_reward.hpp. Survival
/// bias: d and neg_log_one_minus_d make rows longer, log_d shorter, two_d_minus_one and logit neither at a score of 0.
enum class score_map { logit, d, two_d_minus_one, log_d, neg_log_one_minus_d };

inline double map_score(score_map map, double s) noexcept {
    switch (map) {
        case score_map::logit:
            return s;
        case score_map::d:
            return sigmoid(s);
        case score_map::two_d_minus_one:
            return 2 * sigmoid(s) - 1;
        case score_map::log_d:
            return log_sigmoid(s);
        case score_map::neg_log_one_minus_d:
            return softplus(s);
    }
    return s;
}

}  // namespace rlgaf::inline RLGAF_ABI
