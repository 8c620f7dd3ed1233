#include "models/enumeration.hpp"
#include "rlgaf/models/lstm.hpp"
#include "rlgaf/training/greedy_baseline.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;
using asked = ngram_policy<double, token_prompts>;

double worth(std::span<const std::int32_t> row) {
    double sum = 0;
    for (const std::int32_t token : row) sum += token * token;
    return 0.1 * sum - 0.05 * static_cast<double>(row.size());
}
double worth_of_row(const batch& b, std::size_t i) { return worth(b.row(i)); }

/// The likeliest row, token by token.
std::vector<std::int32_t> likeliest(const table_model& policy) {
    std::vector<std::int32_t> row;
    std::size_t context = policy.contexts().start();
    while (row.size() < policy.options().max_length && (row.empty() || row.back() != 0)) {
        const std::vector<double> log_prob = exact_log_prob(policy, context, 1);
        row.push_back(static_cast<std::int32_t>(std::max_element(log_prob.begin(), log_prob.end()) - log_prob.begin()));
        context = policy.contexts().after(context, row.back());
    }
    return row;
}

}  // namespace

TEST_CASE("greedy_baseline: without prompts every row has the likeliest row's reward", "[training]") {
    table_model policy(small_policy());
    trajectories<table_model> t, greedy;
    true_reward judge{worth_of_row};
    part stage{pipeline{logit_reward{}, missing_eos{.penalty = 3}}};
    const roll_out_options options{.rows = 12, .group_size = 3};
    roll_out(policy, {}, options, {1, 0}, t);
    greedy_baseline(policy, {}, options, {1, 0}, stage, t, greedy, [&](auto& g) { score(judge, g); });
    const std::vector<std::int32_t> best = likeliest(policy);
    REQUIRE(rows(greedy.batch) == 1);
    REQUIRE(std::vector(greedy.batch.row(0).begin(), greedy.batch.row(0).end()) == best);
    const double expected = worth(best) - (best.back() == 0 ? 0 : 3);
    REQUIRE(t.greedy_reward == std::vector<double>(12, expected));
    // Its old log-probs are the policy's, not those of a sampler without a choice.
    for (const double x : std::as_const(greedy.old_log_prob).flat()) REQUIRE(x < -0.01);
    roll_out(policy, {}, options, {1, 1}, t);
    REQUIRE(t.greedy_reward.empty());
}

TEST_CASE("greedy_baseline: samples of a prompt share its greedy answer; the stage's memory is left alone",
          "[training]") {
    asked policy({.shape = {.vocabulary = 5, .order = 3}, .max_length = 4, .initial_spread = 1}), reference = policy;
    reference.logits().fill(0);
    token_prompts prompts;
    for (const std::int32_t token : {1, 2, 3, 4}) prompts.add(std::span(&token, 1));
    trajectories<asked> t, greedy, alone;
    true_reward judge{worth_of_row};
    part stage{pipeline{logit_reward{}, adaptive_kl_penalty{.controller = {.initial = 0.5}}}};
    const roll_out_options options{.rows = 8, .group_size = 2};
    roll_out(policy, prompts, options, {1, 0}, t);
    const auto look = [&](auto& g) {
        evaluate_reference(reference, g);
        score(judge, g);
    };
    greedy_baseline(policy, prompts, options, {1, 0}, stage, t, greedy, look);
    REQUIRE(*detail::find_kl_beta(stage.memory) == 0);
    REQUIRE(rows(greedy.batch) == 4);
    for (std::size_t i = 0; i < 8; ++i) {
        const std::size_t prompt = i / 2;
        REQUIRE(greedy.batch.prompt.row(prompt)[0] == static_cast<std::int32_t>(prompt) + 1);
        double kl = 0;
        for (std::size_t k = 0; k < greedy.batch.length[prompt]; ++k)
            kl += greedy.old_log_prob.view().row(prompt)[k] - greedy.reference_log_prob.view().row(prompt)[k];
        REQUIRE(t.greedy_reward[i] == Approx(worth(greedy.batch.row(prompt)) - 0.5 * kl));
    }
    // One row a prompt, each its own group, or all of them one: the same.
    const auto whole = t.greedy_reward;
    const roll_out_options single{.rows = 4, .group_size = 0};
    roll_out(policy, prompts, single, {1, 0}, t);
    greedy_baseline(policy, prompts, single, {1, 0}, stage, t, greedy, look);
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(t.greedy_reward[i] == whole[2 * i]);
}

TEST_CASE("greedy_baseline: an LSTM's likeliest answer does not depend on the random numbers", "[training]") {
    lstm_policy<float> policy({.vocabulary = 6, .embedding = 4, .hidden = 16, .max_length = 8, .seed = 3});
    true_reward judge{[](const token_batch<float>& b, std::size_t i) { return static_cast<double>(b.row(i)[0]); }};
    part stage{logit_reward{}};
    trajectories<lstm_policy<float>> t, greedy;
    std::vector<std::int32_t> tokens;
    for (std::uint32_t round = 0; round < 3; ++round) {
        roll_out(policy, {}, {.rows = 4, .group_size = 2}, {1, round}, t);
        greedy_baseline(policy, {}, {.rows = 4, .group_size = 2}, {1, round}, stage, t, greedy,
                        [&](auto& g) { score(judge, g); });
        if (round == 0) tokens = greedy.batch.token;
        REQUIRE(greedy.batch.token == tokens);
        REQUIRE(t.greedy_reward == std::vector<double>(4, tokens[0]));
    }
}

TEST_CASE("greedy_baseline serves remax: the expected gradient is the policy gradient", "[training]") {
    ngram_policy_options small{.shape = {.vocabulary = 3, .order = 2}, .max_length = 2, .initial_spread = 1};
    table_model policy(small);
    true_reward judge{worth_of_row};
    part stage{logit_reward{}};
    trajectories<table_model> t, greedy;
    const std::size_t n = 40000;
    const roll_out_options options{.rows = n, .group_size = 1};
    roll_out(policy, {}, options, {3, 0}, t);
    greedy_baseline(policy, {}, options, {3, 0}, stage, t, greedy, [&](auto& g) { score(judge, g); });
    score(judge, t);
    rlgaf::shape(stage, t);
    part advantage{remax{}};
    part loss{policy_gradient_loss{}};
    const std::vector<double> exact = exact_gradient(policy, worth);
    std::vector<double> before = parameters_of(policy);
    update_policy(policy, t,
                  {.step = {.learning_rate = 1, .max_norm = 0}, .aggregation = {.mode = aggregation::sequence_sum}},
                  {1, 0}, advantage, loss);
    const std::vector<double> after = parameters_of(policy);
    for (std::size_t i = 0; i < exact.size(); ++i) REQUIRE(after[i] - before[i] == Approx(exact[i]).margin(0.01));
}

TEST_CASE("evaluate_score_norms: the squared norm of d log_prob / d logits, at the sampling temperature",
          "[training]") {
    table_model policy(small_policy());
    for (const double temperature : {1.0, 0.7})
        for (const std::size_t micro : {0u, 3u}) {
            trajectories<table_model> t;
            roll_out(policy, {}, {.rows = 10, .group_size = 2, .sampling = {.temperature = temperature}}, {1, 0}, t);
            REQUIRE(t.earned().score_norm.empty());
            t.batch.mask.assign(t.batch.token.size(), 1);
            t.batch.mask[2] = 0;
            evaluate_score_norms(policy, t, micro);
            const auto norm = t.earned().score_norm;
            std::size_t at = 0;
            for (std::size_t i = 0; i < 10; ++i) {
                std::size_t context = policy.contexts().start();
                for (std::size_t k = 0; k < t.batch.length[i]; ++k) {
                    const auto token = static_cast<std::size_t>(t.batch.row(i)[k]);
                    const std::vector<double> log_prob = exact_log_prob(policy, context, temperature);
                    double squares = 0;
                    for (std::size_t v = 0; v < 4; ++v) {
                        const double d = (v == token) - std::exp(log_prob[v]);
                        squares += d * d;
                    }
                    if (at++ != 2) REQUIRE(norm.row(i)[k] == Approx(squares));
                    context = policy.contexts().after(context, t.batch.row(i)[k]);
                }
            }
        }
    // With importance weights: times their square.
    trajectories<table_model> t, plain;
    const roll_out_options truncated{.rows = 6, .group_size = 2, .sampling = {.top_k = 2}, .recompute_old = true};
    roll_out(policy, {}, truncated, {1, 0}, t);
    plain = t;
    plain.has_token_factor = false;
    evaluate_score_norms(policy, t);
    evaluate_score_norms(policy, plain);
    for (std::size_t i = 0; i < 6; ++i)
        for (std::size_t k = 0; k < t.batch.length[i]; ++k) {
            const double w = t.token_factor.view().row(i)[k];
            REQUIRE(t.score_norm.view().row(i)[k] == Approx(plain.score_norm.view().row(i)[k] * w * w));
        }
}

TEST_CASE("evaluate_score_norms serves optimal_token_baseline", "[training]") {
    table_model policy(small_policy(adamw{}));
    true_reward judge{worth_of_row};
    part stage{logit_reward{}};
    part advantage{optimal_token_baseline{.group_size = 8}};
    part loss{policy_gradient_loss{}};
    trajectories<table_model> t;
    const double before = expected_reward(policy, worth);
    for (std::uint32_t round = 0; round < 40; ++round) {
        roll_out(policy, {}, {.rows = 64, .group_size = 8}, {1, round}, t);
        score(judge, t);
        rlgaf::shape(stage, t);
        evaluate_score_norms(policy, t);
        update_policy(policy, t, {.step = {.learning_rate = 0.05}}, {1, round}, advantage, loss);
    }
    REQUIRE(expected_reward(policy, worth) > before + 0.5);
}
