// expect: rlgaf: the policy needs `void evaluate(const batch&, rlgaf::policy_outputs<scalar>)`: log-probs of the
// batch's actions, without gradient, dropout off
#define OUTPUT_SCALAR double  // while policy::scalar is float
#include "complete_backend.hpp"

static_assert(rlgaf::check_policy<mine::policy>());
