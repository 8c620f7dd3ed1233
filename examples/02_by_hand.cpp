// The five roles of adversarial training in a plain loop: what the trainer does, with every step in your hands.
#include <cstdio>

#include "rlgaf/models/ngram.hpp"
#include "rlgaf/rlgaf.hpp"

using namespace rlgaf;

int main() {
    // The expert counts: 1 2 3 ... and ends with 0. The policy knows five tokens and nothing else.
    token_batch<double> counting;
    for (const std::vector<std::int32_t>& row : {std::vector{1, 2, 3, 4, 0}, {2, 3, 4, 0}, {1, 2, 3, 0}, {3, 4, 0}})
        counting.add(row, row_end::terminated);
    demonstrations experts{counting};

    ngram_policy<double> policy({.shape = {.vocabulary = 5, .order = 2}, .max_length = 8, .optimizer = adamw{}});
    ngram_scorer<double> discriminator({.shape = {.vocabulary = 5, .order = 2}, .optimizer = adamw{}});

    part shaping{
        pipeline{logit_reward{.clip = 5}, missing_eos{.penalty = 1},
                 as_reward("short", [](const token_batch<double>& b, std::size_t i) { return -0.05 * b.length[i]; })}};
    part advantage{rloo{.group_size = 4}};
    part loss{ppo_clip{}};
    part entropy{entropy_bonus{.coefficient = 0.02}};
    part judgement{bce{.smooth_real = 0.1}};

    trajectories<ngram_policy<double>> round;
    discriminator_scratch<double> scratch;
    std::vector<std::uint32_t> pairs(64);
    for (std::uint32_t i = 0; i < 64; ++i) pairs[i] = i;

    for (std::uint32_t step = 0; step <= 200; ++step) {
        const rng_key key{.seed = 7, .step = step};

        roll_out(policy, no_prompts{}, {.rows = 64, .group_size = 4}, key, round);  // 1. sample
        score(discriminator, round);          // 2. what does the discriminator think?
        shape(shaping, round);                // 3. scores to rewards
        const policy_update_report learned =  // 4. policy gradient
            update_policy(policy, round, {.step = {.learning_rate = 0.03}, .epochs = 2}, key, advantage, loss, entropy);
        const discriminator_update_report judged =  // 5. tell samples from demonstrations
            update_discriminator(discriminator, experts.sample(64, key), round.batch, {pairs},
                                 {.step = {.learning_rate = 0.03}}, judgement, scratch);

        if (step % 40 != 0) continue;
        std::printf("step %3u  accuracy %.2f  gradient %.3f  samples", step, judged.loss.accuracy, learned.grad_norm);
        for (std::size_t i = 0; i < 64; i += 11) {
            std::printf("  ");
            for (const std::int32_t token : round.batch.row(i)) std::printf("%d", token);
        }
        std::puts("");
    }
}
