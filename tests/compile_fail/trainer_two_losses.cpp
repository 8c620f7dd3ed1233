// expect: rlgaf: a trainer was given two policy losses; it takes one
#define COMPONENTS \
    rlgaf::ppo_clip{}, rlgaf::grpo{.group_size = 4}, rlgaf::ppo_clip { .clip_low = 0.1 }
#include "complete_trainer.hpp"
