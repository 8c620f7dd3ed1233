// expect: rlgaf: the advantage estimator of rlhf_trainer must give the critic its targets, as gae does: a fourth
// argument `const rlgaf::ragged_view<T>& returns`
#define COMPONENTS \
    rlgaf::grpo {}
#include "complete_rlhf.hpp"
