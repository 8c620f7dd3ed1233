// expect: rlgaf: a trainer was given two rewards; put stages into one pipeline{...}
#define COMPONENTS rlgaf::logit_reward{}, rlgaf::missing_eos{}
#include "complete_trainer.hpp"
