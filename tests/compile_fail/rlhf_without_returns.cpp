// expect: rlgaf: with a critic the advantage estimator must give it its targets, as gae does: a fourth argument `const
// rlgaf::ragged_view<T>& returns`
#define COMPONENTS \
    rlgaf::grpo {}
#include "complete_rlhf.hpp"
