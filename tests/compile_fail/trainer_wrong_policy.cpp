// expect: rlgaf: the policy needs `rlgaf::step_report step(const rlgaf::step_options&)`: descend along the accumulated
// gradient and clear it
#define WITHOUT_STEP
#include "complete_trainer.hpp"
