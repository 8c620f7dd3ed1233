// Maps from score to reward, and who is paid for what.
#include "support/stabilisers.hpp"

namespace stabilisers {

namespace {
template <class Map>
variant with_map(const char* name, Map map) {
    return {"reward", name, [map](setting& s) { train(s, default_advantage(), default_loss(), reward_of(map)); }};
}
/// Random head weights for the columns from `first` on; a judge made of a policy begins with zeros.
void tell_apart(judge& scorer, const rlgaf::lstm_scorer_options& o, std::size_t first) {
    const rlgaf::random_stream random({o.seed, 1}, rlgaf::stream::user);
    for (const auto& block : scorer.parameters())
        if (block.name == rlgaf::chars("head"))
            for (std::uint32_t i = 0; i < block.values.size(); ++i)
                if (i % o.outputs >= first) block.values[i] = static_cast<float>(0.05 * random.normal(i));
}
/// How often each pair of neighbouring letters is in a word, its ends included: fixed features.
auto letter_pairs(const setting& s) {
    return rlgaf::row_features<policy>(
        s.letters.vocabulary_size() * s.letters.vocabulary_size(),
        [n = s.letters.vocabulary_size(), end = s.letters.eos()](const batch& b, std::size_t i, std::span<float> x) {
            auto before = static_cast<std::size_t>(end);
            for (const std::int32_t letter : b.row(i)) {
                x[before * n + static_cast<std::size_t>(letter)] += 1;
                before = static_cast<std::size_t>(letter);
            }
        });
}
/// A reward that compares fixed features with those of demonstrations; nothing else trains.
template <class Reward>
variant of_pairs(const char* name, Reward reward) {
    return {"reward", name, [reward](setting& s) {
                auto features = letter_pairs(s);
                s.options.discriminator_updates = 0;
                train_against(s, features, default_advantage(),
                              rlgaf::pipeline{reward, rlgaf::batch_normalize{}, rlgaf::kl_penalty{.beta = 0.1},
                                              rlgaf::missing_eos{.penalty = 1}});
            }};
}
}  // namespace

void add_rewards(std::vector<variant>& all) {
    using namespace rlgaf;
    all.push_back(with_map("d", d_reward{}));
    all.push_back(with_map("2d-1", two_d_minus_one_reward{}));
    all.push_back(with_map("log d", log_d_reward{}));
    all.push_back(with_map("-log(1-d)", neg_log_one_minus_d_reward{}));
    all.push_back(with_map("fairl", fairl_reward{}));
    all.push_back(with_map("density ratio", density_ratio_reward{}));
    all.push_back({"reward", "bradley_terry against the expert", [](setting& s) {
                       train(s, default_advantage(), bradley_terry{}, reward_of(bradley_terry_reward{}));
                   }});
    all.push_back({"reward", "d + duplicate_discount", [](setting& s) {
                       train(s, default_advantage(), default_loss(),
                             pipeline{d_reward{}, duplicate_discount{}, kl_penalty{.beta = 0.1}, missing_eos{}});
                   }});
    const auto logit_then = [&](const char* name, auto stage) {
        all.push_back({"reward", name, [stage](setting& s) {
                           train(s, default_advantage(), default_loss(),
                                 pipeline{logit_reward{.clip = 10}, stage, kl_penalty{.beta = 0.1}, missing_eos{}});
                       }});
    };
    all.push_back(of_pairs("mmd of letter pairs", mmd_reward{}));
    all.push_back(of_pairs("optimal transport of letter pairs", optimal_transport_reward{}));
    logit_then("batch_normalize", batch_normalize{});
    logit_then("running_normalize", running_normalize{});
    logit_then("ema_normalize", ema_normalize{});
    logit_then("novelty_bonus .1", novelty_bonus{.weight = 0.1});
    all.push_back({"reward", "similarity_penalty", [](setting& s) {
                       train(s, default_advantage(), default_loss(),
                             pipeline{logit_reward{}, similarity_penalty{}, kl_penalty{.beta = 0.1}, missing_eos{}});
                   }});
}

void add_credit(std::vector<variant>& all) {
    using namespace rlgaf;
    const auto by_step = [] { return reinforce{.baseline = reinforce_baseline::per_step, .discount = 1}; };
    all.push_back({"credit", "step-wise: 2d-1", [=](setting& s) {
                       train(s, by_step(), on_tokens{bce{.smooth_real = 0.2}}, reward_of(token_score_reward{}));
                   }});
    all.push_back({"credit", "step-wise: differences", [=](setting& s) {
                       train(s, by_step(), on_tokens{bce{.smooth_real = 0.2}}, reward_of(score_difference{}));
                   }});
    all.push_back({"credit", "step-wise: 2d-1 + absorbing_state", [=](setting& s) {
                       train(s, by_step(), on_tokens{bce{.smooth_real = 0.2}},
                             pipeline{token_score_reward{}, absorbing_state{.horizon = 15}, kl_penalty{.beta = 0.1},
                                      missing_eos{}});
                   }});
    all.push_back(
        {"credit", "step-wise: 2d-1 + return_scale", [=](setting& s) {
             train(s, by_step(), on_tokens{bce{.smooth_real = 0.2}},
                   pipeline{token_score_reward{}, return_scale{.discount = 1}, kl_penalty{.beta = 0.1}, missing_eos{}});
         }});
    all.push_back({"credit", "rollouts: seqgan", [](setting& s) {
                       train(s, reinforce{.baseline = reinforce_baseline::per_step, .discount = 0}, default_loss(),
                             reward_of(rollout_reward{}), rollout_values{.rollouts = 4, .map = score_map::logit});
                   }});
    all.push_back({"credit", "rollouts: vine", [](setting& s) {
                       train(s, reinforce{.baseline = reinforce_baseline::none, .discount = 0, .group_size = 0},
                             default_loss(),
                             reward_of(rollout_reward{.credit = rollout_credit::difference, .initial_is_mean = true}),
                             rollout_values{.rollouts = 4, .map = score_map::logit});
                   }});
    // One score in three ways: at the end of its word, in equal parts, by the gradients; the same estimator.
    const auto score_paid = [](auto... how) {
        return pipeline{logit_reward{.clip = 10}, how..., kl_penalty{.beta = 0.1}, missing_eos{.penalty = 1}};
    };
    all.push_back({"credit", "score at the end of its word",
                   [=](setting& s) { train(s, by_step(), default_loss(), score_paid()); }});
    all.push_back({"credit", "score spread evenly",
                   [=](setting& s) { train(s, by_step(), default_loss(), score_paid(uniform_redistribution{})); }});
    all.push_back({"credit", "score spread by its gradients",
                   [=](setting& s) { train(s, by_step(), default_loss(), score_paid(gradient_redistribution{})); }});
    all.push_back({"credit", "gae with a value function", [](setting& s) {
                       lstm_critic<float> values(s.base, {.seed = s.options.seed});
                       train(s, gae{}, default_loss(), default_reward(), with_critic(values));
                   }});
    all.push_back({"critic", "three_way: raro", [](setting& s) {
                       lstm_scorer_options o = s.judge_options();
                       o.outputs = 3;
                       judge scorer(s.base, o);
                       pair_critic critic(scorer, {.separator = s.letters.eos()});
                       train_against(s, critic, default_advantage(), three_way{}, reward_of(raro_reward{}));
                   }});
    all.push_back({"critic", "ensemble of 4 heads", [](setting& s) {
                       lstm_scorer_options o = s.judge_options();
                       o.outputs = 4;
                       o.dropout = 0.2;
                       judge scorer(s.base, o);
                       tell_apart(scorer, o, 0);  // heads that begin alike would stay alike
                       train_against(s, scorer, default_advantage(), per_column{bce{.smooth_real = 0.2}},
                                     reward_of(ensemble_reward{}));
                   }});
    all.push_back({"critic", "batch_deviation", [](setting& s) {
                       lstm_scorer_options o = s.judge_options();
                       o.outputs = 6;
                       judge scorer(s.base, o);
                       tell_apart(scorer, o, 1);  // gates and features that all begin at 0 would stay there
                       train_against(s, scorer, default_advantage(), batch_deviation{bce{.smooth_real = 0.2}},
                                     reward_of(deviation_reward{}));
                   }});
    all.push_back({"critic", "rank_gan: 16 features", [](setting& s) {
                       lstm_scorer_options o = s.judge_options();
                       o.vocabulary = s.letters.vocabulary_size(), o.embedding = 32, o.hidden = 64, o.outputs = 16;
                       judge scorer(o);
                       train_against(s, scorer, default_advantage(), rank_gan{}, reward_of(rank_reward{}));
                   }});
}

}  // namespace stabilisers
