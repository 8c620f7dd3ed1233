// expect: rlgaf: score regularisers go with a discriminator loss of rows, not of tokens or pairs
#include "complete_backend.hpp"
#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/on_tokens.hpp"
#include "rlgaf/discriminator/regularizer/score_l2.hpp"
#include "rlgaf/training/update_discriminator.hpp"

void update(mine::scorer& scorer, const mine::batch& real, const mine::batch& fake) {
    rlgaf::part loss{rlgaf::on_tokens{rlgaf::bce{}}};
    rlgaf::part regularizer{rlgaf::score_l2{}};
    rlgaf::discriminator_scratch<float> scratch;
    rlgaf::update_discriminator(scorer, real, fake, {}, {}, loss, scratch, {}, regularizer);
}
