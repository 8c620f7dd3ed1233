// expect: rlgaf: a discriminator loss of pairs needs a critic that scores_pairs (rlgaf::pair_critic makes one of a scorer of width 3), see backend/abilities.hpp
#include "rlgaf/discriminator/loss/three_way.hpp"
#define COMPONENTS \
    rlgaf::three_way {}
#include "complete_trainer.hpp"
