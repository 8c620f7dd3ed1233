// expect: ok
#include "complete_backend.hpp"
#include "rlgaf/backend/critic.hpp"

struct critic : mine::policy {
    static constexpr bool gives_value = true;
};
static_assert(rlgaf::check_critic<critic, mine::batch>());
