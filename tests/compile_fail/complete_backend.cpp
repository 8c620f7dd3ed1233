// expect: ok
#include "complete_backend.hpp"

static_assert(rlgaf::check_policy<mine::policy>());
static_assert(rlgaf::check_scorer<mine::scorer, mine::batch>());
