// expect: rlgaf: the critic needs `rlgaf::step_report step(const rlgaf::step_options&)`: descend along the accumulated
// gradient and clear it
#define WITHOUT_STEP
#include "complete_backend.hpp"
#include "rlgaf/backend/critic.hpp"

struct critic : mine::policy {
    static constexpr bool gives_value = true;
};
static_assert(rlgaf::check_critic<critic, mine::batch>());
