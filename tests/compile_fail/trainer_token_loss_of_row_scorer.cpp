// expect: rlgaf: a discriminator loss of tokens needs a scorer that scores_tokens: evaluate_tokens, forward_tokens and backward_tokens, see backend/abilities.hpp
#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/on_tokens.hpp"
#define COMPONENTS \
    rlgaf::on_tokens { rlgaf::bce{} }
#include "complete_trainer.hpp"
