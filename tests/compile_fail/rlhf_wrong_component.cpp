// expect: rlgaf: rlhf_trainer takes an advantage estimator, a policy loss, regularisers, token factors, a reward,
// frozen_reference and prompts_from; wrap a callable of your own in as_reward, as_advantage or as_policy_loss
#define COMPONENTS \
    rlgaf::bradley_terry {}
#include "complete_rlhf.hpp"
