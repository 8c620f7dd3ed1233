// expect: rlgaf: rollout_values needs a policy that continues_prefixes (`rollout_from`, see backend/abilities.hpp) and a discriminator loss of rows
#include "rlgaf/training/rollout_values.hpp"
#define COMPONENTS \
    rlgaf::rollout_values {}
#include "complete_trainer.hpp"
