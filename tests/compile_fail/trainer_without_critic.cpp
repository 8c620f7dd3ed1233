// expect: rlgaf: adversarial_trainer has no critic, whose values this advantage estimator reads; rlhf_trainer has one, and the roles of training/roles.hpp can be driven by hand
#define COMPONENTS \
    rlgaf::gae {}
#include "complete_trainer.hpp"
