#include "rlgaf/policy_gradient/adaptive_entropy_bonus.hpp"
#include "rlgaf/training/update_policy.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

/// What update_policy does around its optimiser steps, and what it says of them.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

double twos(const batch& b, std::size_t i) {
    return static_cast<double>(std::count(b.row(i).begin(), b.row(i).end(), 2));
}
/// A rolled-out, rewarded round; rows `unpaid` get no reward.
trajectories<table_model> a_round(table_model& policy, std::size_t n = 32, std::vector<std::size_t> unpaid = {}) {
    trajectories<table_model> t;
    roll_out(policy, no_prompts{}, {.rows = n, .group_size = 1}, {3, 0}, t);
    part reward{as_reward("twos", twos)};
    shape(reward, t);
    for (const std::size_t i : unpaid) t.reward.outcome(0)[i] = not_a_number;
    return t;
}
/// Every row's reward, or 0 without one, on all its tokens.
struct plain_reward {
    using role = role::advantage;
    void check() const {}
    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace&, const ragged_view<T>& advantage) const {
        for (std::size_t b = 0; b < advantage.rows(); ++b)
            for (T& a : advantage.row(b)) {
                const double r = terms.reward.outcome[0].value[b];
                a = is_nan(&r) ? T{0} : static_cast<T>(r);
            }
        return {};
    }
};
/// Keeps the advantages that it was given, a list a step.
struct watch_advantages {
    using role = role::policy_loss;
    std::vector<std::vector<double>>* seen;
    void check() const {}
    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double>, const ragged_view<T>&) const {
        seen->emplace_back();
        for_each_token(terms.advantage, terms.mask, [&](std::size_t b, std::size_t t) {
            seen->back().push_back(static_cast<double>(terms.advantage.row(b)[t]));
        });
        return {};
    }
};
double k3_of(table_model& policy, const trajectories<table_model>& t) {
    ragged_buffer<double> now;
    now.assign(lengths(t.batch));
    policy.evaluate(t.batch, {.log_prob = now.view()});
    double sum = 0, n = 0;
    for_each_token(now.view(), {}, [&](std::size_t b, std::size_t k) {
        const double d = now.view().row(b)[k] - t.old_log_prob.view().row(b)[k];
        sum += std::exp(d) - 1 - d, n += 1;
    });
    return sum / n;
}

}  // namespace

TEST_CASE("update_policy: stop_kl ends after the epoch whose last step has gone too far", "[training]") {
    table_model start(small_policy());
    const auto run = [&](table_model& policy, std::size_t epochs, double stop_kl, std::size_t minibatches = 1) {
        auto t = a_round(start);
        part advantage{plain_reward{}};
        part loss{ppo_clip{}};
        return update_policy(policy, t,
                             {.step = {.learning_rate = 0.5, .max_norm = 0},
                              .epochs = epochs,
                              .minibatches = minibatches,
                              .stop_kl = stop_kl},
                             {1, 0}, advantage, loss);
    };
    // The KL that each epoch measures: that of the policy before its step.
    std::vector<double> kl;
    const auto t = a_round(start);
    for (std::size_t epochs = 0; epochs < 6; ++epochs) {
        table_model policy = start;
        if (epochs > 0) run(policy, epochs, 0);
        kl.push_back(k3_of(policy, t));
    }
    REQUIRE((kl[0] == Approx(0).margin(1e-15) && kl[1] > 0 && kl[2] > kl[1] && kl[4] > kl[3]));
    for (std::size_t allowed = 1; allowed < 5; ++allowed) {
        table_model policy = start, same = start;
        const policy_update_report r = run(policy, 6, (kl[allowed - 1] + kl[allowed]) / 2);
        REQUIRE((r.epochs == allowed + 1 && r.steps == allowed + 1));
        REQUIRE(r.kl_last == Approx(kl[allowed]));
        run(same, allowed + 1, 0);
        REQUIRE(same_bits(parameters_of(policy), parameters_of(same)));
    }
    table_model policy = start;
    const policy_update_report free = run(policy, 3, 0);
    REQUIRE((free.epochs == 3 && is_nan(&free.kl_last)));
    policy = start;
    const policy_update_report split = run(policy, 5, 1e-9, 4);
    REQUIRE((split.epochs == 1 && split.steps == 4));  // an epoch is never cut short
    const auto refused = [&](double kl_limit) { return message_of<option_error>([&] { run(policy, 1, kl_limit); }); };
    REQUIRE(contains(refused(-1), "policy_update_options: .stop_kl"));
    REQUIRE(contains(refused(not_a_number), ".stop_kl"));
}

TEST_CASE("update_policy: normalize_minibatch gives each step mean 0 and deviation 1", "[training]") {
    table_model policy(small_policy());
    for (const std::size_t minibatches : {1u, 3u}) {
        auto t = a_round(policy, 31, {4, 9, 10});
        std::vector<std::vector<double>> seen, raw;
        part advantage{plain_reward{}};
        part loss{watch_advantages{&seen}}, plain{watch_advantages{&raw}};
        policy_update_options options{.step = {.learning_rate = 0}, .minibatches = minibatches};
        update_policy(policy, t, options, {1, 0}, advantage, plain);
        options.normalize_minibatch = true;
        update_policy(policy, t, options, {1, 0}, advantage, loss);
        REQUIRE((seen.size() == minibatches && raw.size() == minibatches));
        std::size_t unpaid_tokens = 0, zeros = 0;
        for (const std::size_t i : {4u, 9u, 10u}) unpaid_tokens += t.batch.length[i];
        for (std::size_t s = 0; s < minibatches; ++s) {
            double sum = 0, squares = 0, n = 0;
            for (const double a : seen[s]) {
                zeros += a == 0;
                if (a != 0) sum += a, squares += a * a, n += 1;
            }
            REQUIRE(sum == Approx(0).margin(1e-9));
            REQUIRE(squares / (n - 1) == Approx(1));
            REQUIRE(seen[s].size() == raw[s].size());
        }
        REQUIRE(zeros == unpaid_tokens);  // rows without a reward keep 0, and are in neither mean nor deviation
    }
    // Equal advantages say nothing.
    auto t = a_round(policy, 6);
    for (double& r : t.reward.outcome(0)) r = 2;
    std::vector<std::vector<double>> seen;
    part advantage{plain_reward{}};
    part loss{watch_advantages{&seen}};
    update_policy(policy, t, {.normalize_minibatch = true}, {1, 0}, advantage, loss);
    for (const double a : seen[0]) REQUIRE(a == 0);
}

TEST_CASE("update_policy reports the weights of tokens: what a rejection drops is seen", "[training]") {
    table_model policy(small_policy());
    const auto report = [&](auto component, std::size_t micro_rows = 0) {
        table_model learner = policy;
        trajectories<table_model> t;
        roll_out(learner, {}, {.rows = 32, .group_size = 1, .sampling = {.top_k = 3}, .recompute_old = true}, {3, 0},
                 t);
        part reward{as_reward("twos", twos)};
        shape(reward, t);
        part advantage{plain_reward{}};
        part loss{ppo_clip{}};
        part other{component};
        return update_policy(learner, t,
                             {.step = {.max_norm = 0}, .epochs = 2, .minibatches = 2, .micro_batch_rows = micro_rows},
                             {1, 0}, advantage, loss, other);
    };
    const policy_update_report none = report(rejection{.level = rejection_level::token, .low = 2, .high = 3});
    REQUIRE((none.token_weight.dropped_share() == 1 && none.token_weight.weight.max == 0));
    REQUIRE(ess_fraction(none.token_weight.weight) == 0);
    const policy_update_report some = report(importance_weights{.rule = importance_rule::mask, .low = 0.85});
    REQUIRE((some.token_weight.dropped_share() > 0.05 && some.token_weight.dropped_share() < 0.95));
    REQUIRE(some.token_weight.weight.min == 0);
    REQUIRE((some.token_weight.weight.max > 0.85 && some.token_weight.weight.mean > 0.1));
    const policy_update_report parts = report(importance_weights{.rule = importance_rule::mask, .low = 0.85}, 3);
    REQUIRE(parts.token_weight.weight.count == some.token_weight.weight.count);
    REQUIRE(parts.token_weight.weight.mean == Approx(some.token_weight.weight.mean));
    REQUIRE(parts.token_weight.dropped == some.token_weight.dropped);
    auto t = a_round(policy);
    part advantage{plain_reward{}};
    part loss{ppo_clip{}};
    REQUIRE(update_policy(policy, t, {}, {1, 0}, advantage, loss).token_weight.weight.count == 0);

    // In the trainer's report.
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4},
                                rejection{.level = rejection_level::token, .low = 2, .high = 3}};
    adversarial_options options = short_run(1);
    options.recompute_old = true;
    const round_report r = trainer.run(options);
    REQUIRE((r.weight_dropped_share == 1 && r.weight_max == 0 && r.weight_ess_fraction == 0 && r.policy_epochs == 1));
    std::size_t named = 0;
    for_each_metric(
        r, [&](const std::string& name, double value) { named += name == "weight_dropped_share" && value == 1; });
    REQUIRE(named == 1);
}

TEST_CASE("update_policy drives adaptive_entropy by the mean entropy of every step", "[training]") {
    table_model policy(small_policy()), by_hand = policy;
    const adaptive_entropy_bonus bonus{.controller = {.initial = 0.1, .target = 1.313, .delta = 0.05, .highest = 0.3}};
    auto t = a_round(policy);
    part advantage{plain_reward{}};
    part loss{ppo_clip{}};
    part entropy{bonus};
    const policy_update_options options{.step = {.learning_rate = 1, .max_norm = 0}, .epochs = 6};
    const policy_update_report report = update_policy(policy, t, options, {1, 0}, advantage, loss, entropy);

    // Step by step with entropy_bonus, whose coefficient adaptive_entropy gives.
    auto same = a_round(by_hand);
    adaptive_entropy::state state;
    double coefficient = 0, sum = 0, tokens = 0;
    bool low = false, high = false;
    for (std::size_t epoch = 0; epoch < 6; ++epoch) {
        ragged_buffer<double> log_prob, h;
        log_prob.assign(lengths(same.batch));
        h.assign(lengths(same.batch));
        by_hand.evaluate(same.batch, {.log_prob = log_prob.view(), .entropy = h.view()});
        part fixed{entropy_bonus{.coefficient = coefficient}};
        update_policy(by_hand, same, {.step = options.step}, {1, 0}, advantage, loss, fixed);
        const double mean = token_moments(std::as_const(h).view(), {}).mean;
        sum += mean * static_cast<double>(same.batch.token.size());
        tokens += static_cast<double>(same.batch.token.size());
        low = low || mean <= 1.313, high = high || mean > 1.313;
        coefficient = bonus.controller(state, mean);
    }
    REQUIRE((low && high));  // both branches were taken
    REQUIRE(gap(parameters_of(policy), parameters_of(by_hand)) < 1e-12);
    REQUIRE(report.entropy_coefficient == coefficient);
    REQUIRE(report.entropy.mean == Approx(sum / tokens));
    REQUIRE(entropy.memory.controller.steps == 6);
}

TEST_CASE("adaptive_entropy_bonus keeps a policy in the trainer from settling", "[training]") {
    const auto last_entropy = [](auto... regularizer) {
        table_model policy(small_policy(adamw{}));
        true_reward judge{twos};
        adversarial_trainer trainer{policy, judge, no_experts, grpo{.group_size = 8}, regularizer...};
        adversarial_options options = short_run(150, 0.05);
        options.rows = 64;
        const round_report r = trainer.run(options);
        return std::pair{r.entropy_sampled, r};
    };
    const auto [settled, without] = last_entropy();
    const auto [kept, with] =
        last_entropy(adaptive_entropy_bonus{.controller = {.target = 0.6, .delta = 0.02, .highest = 2}});
    INFO(settled << " and " << kept);
    REQUIRE(settled < 0.35);
    REQUIRE(kept > 0.45);
    REQUIRE((is_nan(&without.entropy) && is_nan(&without.entropy_coefficient)));
    REQUIRE((with.entropy > 0.3 && with.entropy_coefficient >= 0));
}
