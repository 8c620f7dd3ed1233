#pragma once
// One small run of align_words, and the list of what is switched on in it, one thing at a time.
#include <functional>
#include <string>
#include <vector>

#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/lstm_critic.hpp"
#include "rlgaf/rlgaf.hpp"
#include "support/frontier.hpp"
#include "support/words.hpp"

namespace stabilisers {

using align_words::policy;
using judge = rlgaf::lstm_scorer<float>;
using batch = rlgaf::token_batch<float>;

// The small form. What is recorded names it, so that runs of different forms are never mixed.
struct form {
    std::size_t hidden = 128, rounds = 150, rows = 256, base_epochs = 4, words_per_language = 20000;
    double policy_rate = 1e-3, discriminator_rate = 1e-4;
    std::string name() const;
};

// What a run works with, and how far it got: the share of new valid words among the samples of each round.
struct setting {
    policy& model;
    const policy& base;
    const align_words::word_data& data;
    const rlgaf::char_tokenizer& letters;
    rlgaf::adversarial_options options;
    std::vector<double> valid_by_round = {};

    rlgaf::demonstrations<batch> experts() const {
        return rlgaf::demonstrations{align_words::as_batch(data.demos, letters)};
    }
    rlgaf::lstm_scorer_options judge_options() const { return {.seed = options.seed, .optimizer = {.beta1 = 0.5}}; }
};

struct variant {
    std::string family, name;
    std::function<void(setting&)> train;
};

void add_losses(std::vector<variant>& all);
void add_relativistic(std::vector<variant>& all);
void add_regularizers(std::vector<variant>& all);
void add_balance(std::vector<variant>& all);
void add_rewards(std::vector<variant>& all);
void add_credit(std::vector<variant>& all);

// The default of align_words, and its parts for those who change one of them.
inline auto default_loss() { return rlgaf::bce{.smooth_real = 0.2}; }
inline auto default_advantage() { return rlgaf::grpo{.group_size = 0}; }
template <class Map>
auto reward_of(Map map) {
    return rlgaf::pipeline{map, rlgaf::kl_penalty{.beta = 0.1}, rlgaf::missing_eos{.penalty = 1}};
}
inline auto default_reward() { return reward_of(rlgaf::logit_reward{.clip = 10}); }

// Observer: counts new valid words round by round.
struct watch {
    setting& s;
    void on_rollout(const rlgaf::round_report&, const batch& b) {
        double valid = 0;
        for (std::size_t i = 0; i < rows(b); ++i)
            valid += b.end[i] == rlgaf::row_end::terminated && s.data.lexicon.contains(s.letters.decode(b.row(i)));
        s.valid_by_round.push_back(100 * valid / static_cast<double>(rows(b)));
    }
};

template <class Scorer, class... C>
void train_against(setting& s, Scorer& discriminator, C... components) {
    auto experts = s.experts();
    rlgaf::adversarial_trainer trainer{s.model, discriminator, experts, components...};
    trainer.run(s.options, watch{s});
}

// The usual discriminator: the base model's weights.
template <class... C>
void train(setting& s, C... components) {
    judge discriminator(s.base, s.judge_options());
    train_against(s, discriminator, components...);
}

}  // namespace stabilisers
