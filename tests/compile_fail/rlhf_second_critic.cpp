// expect: rlgaf: a trainer was given two critics; it takes one
#define COMPONENTS rlgaf::with_critic(critic)
#include "complete_rlhf.hpp"
