// expect: rlgaf: score regularisers go with a discriminator loss of rows, not of tokens or pairs
#include "complete_backend.hpp"
#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/on_tokens.hpp"
#include "rlgaf/discriminator/regularizer/score_l2.hpp"
#include "rlgaf/training/update_discriminator.hpp"

struct token_scorer : mine::scorer {
    struct token_tape {};
    void evaluate_tokens(const mine::batch&, rlgaf::ragged_view<float>);
    token_tape forward_tokens(const mine::batch&, rlgaf::ragged_view<float>);
    void backward_tokens(token_tape&&, rlgaf::ragged_view<const float>);
};

void update(token_scorer& scorer, const mine::batch& real, const mine::batch& fake) {
    rlgaf::part loss{rlgaf::on_tokens{rlgaf::bce{}}};
    rlgaf::part regularizer{rlgaf::score_l2{}};
    rlgaf::discriminator_scratch<float> scratch;
    rlgaf::update_discriminator(scorer, real, fake, {}, {}, loss, scratch, {}, regularizer);
}
