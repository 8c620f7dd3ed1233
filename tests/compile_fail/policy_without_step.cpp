// expect: rlgaf: the policy needs `rlgaf::step_report step(const rlgaf::step_options&)`: descend along the accumulated
// gradient and clear it
#define WITHOUT_STEP
#include "complete_backend.hpp"

static_assert(rlgaf::check_policy<mine::policy>());
