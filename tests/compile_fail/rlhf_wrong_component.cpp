// expect: rlgaf: with a true_reward or no_experts there is no discriminator that learns, for a gate, a discriminator
// loss, held-out experts or rewards relative to demonstrations to act on
#define COMPONENTS \
    rlgaf::bradley_terry {}
#include "complete_rlhf.hpp"
