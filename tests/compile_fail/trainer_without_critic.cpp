// expect: rlgaf: adversarial_trainer fills no values, greedy rewards or score norms, which this advantage estimator reads; rlhf_trainer has a critic, and the roles of training/roles.hpp can be driven by hand
#define COMPONENTS \
    rlgaf::gae {}
#include "complete_trainer.hpp"
