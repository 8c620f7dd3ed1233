// expect: rlgaf: this advantage estimator reads the values of a critic; add with_critic(critic)
#define COMPONENTS \
    rlgaf::gae {}
#include "complete_trainer.hpp"
