// expect: rlgaf: the critic needs `static constexpr bool gives_value = true;`: it fills policy_outputs::value and takes
// policy_cotangents::d_value
#include "complete_backend.hpp"
#include "rlgaf/backend/critic.hpp"

static_assert(rlgaf::check_critic<mine::policy, mine::batch>());
