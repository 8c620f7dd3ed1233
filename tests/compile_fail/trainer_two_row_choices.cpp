// expect: rlgaf: a trainer was given two components that choose its rows; it takes one
#define COMPONENTS \
    rlgaf::grpo{.group_size = 4}, rlgaf::informative_groups{}, rlgaf::resample_rows {}
#include "complete_trainer.hpp"
