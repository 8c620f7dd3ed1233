// expect: rlgaf: gradient_redistribution needs a scorer that attributes_tokens: `void attribute(const batch&, rlgaf::ragged_view<T> weight)`, see backend/abilities.hpp (lstm_scorer does)
#include "rlgaf/reward_shaping/gradient_redistribution.hpp"
#define COMPONENTS \
    rlgaf::gradient_redistribution {}
#include "complete_trainer.hpp"
