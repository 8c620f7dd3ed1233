#pragma once
// The route without policy gradient: relaxed samples, and the discriminator's gradient through them (Gumbel-softmax).
#include <unistd.h>

#include <optional>

#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/io/jsonl_log.hpp"
#include "rlgaf/io/progress_bar.hpp"
#include "rlgaf/models/lstm.hpp"
#include "rlgaf/training/pathwise.hpp"
#include "support/frontier.hpp"

namespace align_words {

struct pathwise_settings {
    std::size_t rounds = 200;
    std::uint64_t seed = 1;
    double policy_rate = 5e-4, discriminator_rate = 5e-5, highest = 10;
    bool straight_through = false, soft_inputs = false;
};

// Prints a line of figures and samples every few rounds.
struct pathwise_rows {
    const rlgaf::char_tokenizer& letters;
    std::size_t every;

    void on_begin(const rlgaf::run_info&) { fmt::print("round   loss   acc  nats/letter  samples\n"); }
    void on_rollout(const rlgaf::round_report& r, const rlgaf::token_batch<float>& batch) {
        if (r.round != 1 && r.round % every != 0) return;
        if (isatty(2)) fmt::print(stderr, "\r\x1b[2K");
        fmt::print("{:5} {:6.2f}  {:4.2f}  {:11.2f} ", r.round, r.policy_loss, r.accuracy, r.entropy_sampled);
        for (std::size_t i = 0; i < 6; ++i) fmt::print(" {}", letters.decode(batch.row(i)));
        fmt::print("\n");
        std::fflush(stdout);
    }
};

// Trains `model` against a discriminator that starts from the base model's weights, as RLGAF does.
inline void pathwise(policy& model, const policy& base, const word_data& data, const rlgaf::char_tokenizer& letters,
                     const pathwise_settings& s, std::optional<rlgaf::jsonl_log>& log) {
    rlgaf::lstm_scorer<float> judge(base, {.seed = s.seed, .optimizer = {.beta1 = 0.5}});
    rlgaf::demonstrations experts{as_batch(data.demos, letters)};
    rlgaf::pathwise_trainer trainer{model, judge, experts, rlgaf::bce{.smooth_real = 0.2}, rlgaf::bce{}};
    rlgaf::pathwise_options options{.rounds = s.rounds, .rows = 512, .seed = s.seed};
    options.relaxation = {.straight_through = s.straight_through, .soft_inputs = s.soft_inputs};
    options.inverse_temperature = {.highest = s.highest, .steps = std::max<std::size_t>(s.rounds, 2)};
    options.policy.learning_rate = s.policy_rate;
    options.policy_rate = {.shape = rlgaf::schedule_shape::linear, .to = 0.1, .steps = s.rounds};
    options.discriminator.learning_rate = s.discriminator_rate;
    options.discriminator_steps = 1;
    options.discriminator_warmup = std::min<std::size_t>(10, s.rounds / 2);
    pathwise_rows rows_now{letters, std::max<std::size_t>(s.rounds / 10, 1)};
    if (log)
        trainer.run(options, rlgaf::progress_bar{}, rows_now, *log);
    else
        trainer.run(options, rlgaf::progress_bar{}, rows_now);
}

}  // namespace align_words
