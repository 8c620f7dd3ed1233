// expect: rlgaf: the batch needs a free function `batch select(const batch&, span<const size_t> rows)`
#define WITHOUT_BATCH_FUNCTIONS
#include "complete_backend.hpp"

static_assert(rlgaf::check_policy<mine::policy>());
