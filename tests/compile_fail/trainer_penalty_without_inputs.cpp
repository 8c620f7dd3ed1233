// expect: rlgaf: r1 and the other input penalties need a scorer that perturbs_inputs: noise, towards, input_gradient, row_norms, scale, add and forward(batch, perturbation, score), see backend/abilities.hpp (lstm_scorer does)
#include "rlgaf/discriminator/regularizer/r1.hpp"
#define COMPONENTS \
    rlgaf::r1 {}
#include "complete_trainer.hpp"
