#include "rlgaf/training/fit_online_dpo.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

double twos(const batch& b, std::size_t i) {
    return static_cast<double>(std::count(b.row(i).begin(), b.row(i).end(), 2));
}
double twos_of(std::span<const std::int32_t> row) { return static_cast<double>(std::count(row.begin(), row.end(), 2)); }

online_dpo_options short_online(std::size_t rounds) {
    return {.rounds = rounds, .rows = 64, .step = {.learning_rate = 0.05}};
}

}  // namespace

TEST_CASE("fit_online_dpo: the policy learns what a scorer or a function prefers, two or more samples a prompt",
          "[training]") {
    for (const std::size_t group : {2u, 8u}) {
        table_model policy(small_policy(adamw{})), reference = policy.clone();
        true_reward judge{twos};
        const double before = expected_reward(policy, twos_of);
        online_dpo_options options = short_online(80);
        options.group_size = group;
        keep_reports kept;
        const round_report last = fit_online_dpo(policy, reference, judge, no_prompts{}, options, kept);
        REQUIRE((last.round == 80 && last.discarded_steps == 0 && kept.reports.size() == 80));
        REQUIRE(expected_reward(policy, twos_of) > before + 0.7);
        REQUIRE(kept.reports[0].policy_loss == Approx(std::log(2.0)));
        REQUIRE(kept.reports[0].accuracy == Approx(0.5));
        REQUIRE(kept.reports[0].kl_reference_per_token == Approx(0).margin(1e-12));
        REQUIRE((last.kl_reference_per_token > 0.05 && last.accuracy > 0.55));
        REQUIRE((is_nan(&last.reward_mean) && last.length_mean > 0));
    }
    table_model policy(small_policy(adamw{})), reference = policy.clone();
    ngram_scorer<double> scorer({.shape = {.vocabulary = 4, .order = 1}});
    scorer.table()(0, 2) = 1;  // the same judgement
    const double before = expected_reward(policy, twos_of);
    fit_online_dpo(policy, reference, scorer, no_prompts{}, short_online(80), dpo{.variant = dpo_variant::ipo});
    REQUIRE(expected_reward(policy, twos_of) > before + 0.5);
}

TEST_CASE("fit_online_dpo: a round is roll_out, score, online_dpo and a step of fit_dpo", "[training]") {
    table_model policy(small_policy()), by_hand = policy, reference = policy.clone();
    true_reward judge{twos};
    online_dpo_options options = short_online(2);
    options.group_size = 4;
    options.step.max_norm = 0;
    options.learning_rate = {.shape = schedule_shape::linear, .to = 0.5, .steps = 2};
    fit_online_dpo(policy, reference, judge, no_prompts{}, options, dpo{.beta = 0.5});
    trajectories<table_model> t;
    std::vector<preference_pair> pairs;
    for (std::uint32_t i = 0; i < 2; ++i) {
        roll_out(by_hand, {}, {.rows = 64, .group_size = 4}, {1, i}, t);
        score(judge, t);
        online_dpo{}(std::span<const double>(t.score), t.group(), t.work, pairs);
        REQUIRE((!pairs.empty() && pairs.size() < 17));
        fit_dpo(by_hand, reference, t.batch, pairs, {.step = {.learning_rate = i == 0 ? 0.05 : 0.0375, .max_norm = 0}},
                dpo{.beta = 0.5});
    }
    REQUIRE(gap(parameters_of(policy), parameters_of(by_hand)) < 1e-14);
}

TEST_CASE("fit_online_dpo: a round of equal scores takes no step; prompts; observers", "[training]") {
    table_model policy(small_policy(adamw{})), reference = policy.clone();
    const std::vector<double> before = parameters_of(policy);
    true_reward same{[](const batch&, std::size_t) { return 1.0; }};
    const round_report r = fit_online_dpo(policy, reference, same, no_prompts{}, short_online(2));
    REQUIRE((r.policy_steps == 0 && is_nan(&r.policy_loss) && is_nan(&r.accuracy) && r.score_policy == 1));
    REQUIRE(same_bits(before, parameters_of(policy)));

    struct questions {
        token_prompts sample(std::size_t n, rng_key key) const {
            token_prompts p;
            for (std::size_t i = 0; i < n; ++i) {
                const std::int32_t token[] = {random_stream(key, stream::prompts, i).uniform(0) < 0.5 ? 3 : 4};
                p.add(token);
            }
            return p;
        }
    } source;
    using asked = ngram_policy<double, token_prompts>;
    asked learner({.shape = {.vocabulary = 5, .order = 2}, .max_length = 4, .optimizer = adamw{}});
    asked start = learner.clone();
    true_reward judge{[](const batch& b, std::size_t i) { return b.row(i)[0] == b.prompt.row(i)[0] - 2 ? 1.0 : 0.0; }};
    struct {
        std::size_t rollouts = 0, ends = 0;
        bool on_round(const round_report& x) { return x.round == 70; }
        void on_rollout(const round_report&, const batch& b) { rollouts += rows(b) == 64; }
        void on_end(const round_report&) { ++ends; }
    } watch;
    online_dpo_options options = short_online(100);
    options.group_size = 4;
    const round_report last = fit_online_dpo(learner, start, judge, source, options, watch);
    REQUIRE((last.round == 70 && watch.rollouts == 70 && watch.ends == 1));
    REQUIRE(last.score_policy > 0.8);
}

TEST_CASE("fit_online_dpo: options that cannot be are refused by name", "[training]") {
    table_model policy(small_policy()), reference = policy.clone();
    true_reward judge{twos};
    const auto refusal = [&](auto&& change) {
        online_dpo_options options = short_online(1);
        change(options);
        return message_of<option_error>([&] { fit_online_dpo(policy, reference, judge, no_prompts{}, options); });
    };
    REQUIRE(contains(refusal([](auto& o) { o.group_size = 1; }), "online_dpo_options: .group_size"));
    REQUIRE(contains(refusal([](auto& o) { o.rows = 63; }), ".rows"));
    REQUIRE(contains(refusal([](auto& o) { o.pairs.tolerance = not_a_number; }), "online_dpo: .tolerance"));
    REQUIRE(contains(refusal([](auto& o) { o.step.max_norm = -1; }), ".max_norm"));
    REQUIRE(contains(refusal([](auto& o) { o.sampling.top_p = 0; }), ".top_p"));
}
