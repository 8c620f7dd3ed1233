#pragma once
// What RLGAF replaces: comparisons, a reward model of them, PPO with a critic against that model.
#include <unistd.h>

#include <optional>

#include "rlgaf/io/jsonl_log.hpp"
#include "rlgaf/io/progress_bar.hpp"
#include "rlgaf/models/lstm.hpp"
#include "rlgaf/rlgaf.hpp"
#include "rlgaf/training/fit_reward_model.hpp"
#include "rlgaf/training/rlhf.hpp"
#include "support/frontier.hpp"

namespace align_words {

struct rlhf_settings {
    std::size_t rounds = 200, comparisons = 10000;
    std::uint64_t seed = 1;
    double policy_rate = 1e-4, critic_rate = 5e-4, reward_model_rate = 1e-4, kl_target = 0.15;
};

// Prints a line of figures and samples every few rounds.
struct rlhf_rows {
    const rlgaf::char_tokenizer& letters;
    std::size_t every;

    void on_begin(const rlgaf::run_info&) { fmt::print("round  reward  KL/word   beta  explained  samples\n"); }
    void on_rollout(const rlgaf::round_report& r, const rlgaf::token_batch<float>& batch) {
        if (r.round != 1 && r.round % every != 0) return;
        if (isatty(2)) fmt::print(stderr, "\r\x1b[2K");
        fmt::print("{:5} {:7.2f}  {:7.2f}  {:5.3f}  {:9.2f} ", r.round, r.reward_mean, r.kl_reference_per_row,
                   r.kl_beta, r.explained_variance);
        for (std::size_t i = 0; i < 6; ++i) fmt::print(" {}", letters.decode(batch.row(i)));
        fmt::print("\n");
        std::fflush(stdout);
    }
};

// Two samples a comparison. The judge sees the lexicon: a new valid word beats any other; two or none are no pair.
inline std::vector<rlgaf::preference_pair> compare(const rlgaf::token_batch<float>& said, const word_data& data,
                                                   const rlgaf::char_tokenizer& letters) {
    const auto valid = [&](std::size_t i) {
        return said.end[i] == rlgaf::row_end::terminated && data.lexicon.contains(letters.decode(said.row(i)));
    };
    std::vector<rlgaf::preference_pair> pairs;
    for (std::uint32_t i = 0; i + 1 < rows(said); i += 2)
        if (const bool first = valid(i); first != valid(i + 1))
            pairs.push_back(first ? rlgaf::preference_pair{i, i + 1} : rlgaf::preference_pair{i + 1, i});
    return pairs;
}

// The last two steps of RLHF; `model` comes from the first one, supervised fine-tuning.
inline void rlhf(policy& model, const policy& base, const word_data& data, const rlgaf::char_tokenizer& letters,
                 const rlhf_settings& s, std::optional<rlgaf::jsonl_log>& log) {
    std::vector<std::uint64_t> id(2 * s.comparisons);
    rlgaf::count_up(std::span(id));
    const auto said = model.rollout({}, id, {}, {s.seed, 3000});
    const std::vector<rlgaf::preference_pair> pairs = compare(said, data, letters);
    const std::span<const rlgaf::preference_pair> shown(pairs.data(), pairs.size() * 4 / 5),
        kept(pairs.data() + shown.size(), pairs.size() - shown.size());

    rlgaf::lstm_scorer<float> scorer(base, {.seed = s.seed}), best = scorer.clone();
    double least = 1e9, accuracy = 0.5;
    for (std::size_t epoch = 1; epoch <= 10 && !shown.empty(); ++epoch) {
        rlgaf::fit_reward_model(scorer, said, shown,
                                {.step = {.learning_rate = s.reward_model_rate}, .seed = s.seed + 100 * epoch});
        const rlgaf::preference_stats held_out = judge_pairs(scorer, said, kept);
        if (held_out.loss < least) least = held_out.loss, accuracy = held_out.accuracy, best = scorer.clone();
    }
    fmt::print("{} comparisons, {} pairs; the reward model orders {:.0f} % of those that were held out rightly\n",
               s.comparisons, pairs.size(), 100 * accuracy);

    rlgaf::lstm_critic<float> critic(best, {.seed = s.seed});
    rlgaf::rlhf_trainer trainer{
        model,
        best,
        critic,
        rlgaf::gae{},
        rlgaf::ppo_clip{},
        rlgaf::pipeline{
            rlgaf::logit_reward{.clip = 10},
            rlgaf::adaptive_kl_penalty{{.initial = 0.5, .target_per_sequence = s.kl_target, .horizon = 5000}},
            rlgaf::missing_eos{.penalty = 1}}};
    rlgaf::rlhf_options options{.rounds = s.rounds, .rows = 512, .seed = s.seed};
    options.policy.step.learning_rate = s.policy_rate;
    options.critic.step.learning_rate = s.critic_rate;
    options.policy_rate = {.shape = rlgaf::schedule_shape::linear, .to = 0.1, .steps = s.rounds};
    rlhf_rows rows_now{letters, std::max<std::size_t>(s.rounds / 10, 1)};
    if (log)
        trainer.run(options, rlgaf::progress_bar{}, rows_now, *log);
    else
        trainer.run(options, rlgaf::progress_bar{}, rows_now);
}

}  // namespace align_words
