// expect: rlgaf: instance_noise needs a scorer that perturbs_inputs, see backend/abilities.hpp (lstm_scorer does); token_noise does without
#include "rlgaf/discriminator/regularizer/instance_noise.hpp"
#define COMPONENTS \
    rlgaf::instance_noise {}
#include "complete_trainer.hpp"
