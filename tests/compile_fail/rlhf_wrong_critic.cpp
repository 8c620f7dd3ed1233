// expect: rlgaf: the critic needs `static constexpr bool gives_value = true;`: it fills policy_outputs::value and takes
// policy_cotangents::d_value
#define CRITIC mine::policy
#include "complete_rlhf.hpp"
