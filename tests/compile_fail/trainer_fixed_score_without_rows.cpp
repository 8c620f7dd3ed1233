// expect: rlgaf: a reward stage reads the scores of fixed rows; add fixed_rows(batch)
#include "rlgaf/reward_shaping/standard_score_reward.hpp"
#define COMPONENTS \
    rlgaf::standard_score_reward {}
#include "complete_trainer.hpp"
