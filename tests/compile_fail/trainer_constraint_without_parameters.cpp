// expect: rlgaf: spectral_norm and weight_clip need a scorer with flat_parameters: `parameters()`, see backend/abilities.hpp
#include "rlgaf/discriminator/regularizer/spectral_norm.hpp"
#define COMPONENTS \
    rlgaf::spectral_norm {}
#include "complete_trainer.hpp"
