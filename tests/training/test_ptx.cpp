#include "rlgaf/training/ptx.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {
double nothing(const token_batch<double>&, std::size_t) { return 0; }

/// Mean log-prob a token.
double likelihood(ngram_policy<double>& policy, const token_batch<double>& text) {
    ragged_buffer<double> log_prob;
    log_prob.assign(lengths(text));
    policy.evaluate(text, {.log_prob = log_prob.view()});
    return sum(std::span<const double>(log_prob.flat())) / static_cast<double>(log_prob.flat().size());
}

/// A source that always gives the same rows.
struct same_rows {
    token_batch<double> all;
    token_batch<double> sample(std::size_t, rng_key) { return all; }
};
}  // namespace

TEST_CASE("ptx adds the gradient of coefficient times nats a token, in one piece or in micro-batches") {
    same_rows text{rows_of<double>({{1, 2, 3, 0}, {0}, {2, 2, 0}})};
    for (const std::size_t micro_rows : {0, 1, 2}) {
        ngram_policy<double> policy(small_policy()), other(small_policy());
        const double loss = ptx(text, {.coefficient = 0.7, .rows = 3}).accumulate(policy, {1, 2}, micro_rows);
        REQUIRE(gap(loss, -0.7 * likelihood(other, text.all)) < 1e-12);
        policy.step({.learning_rate = 1});
        // The same as fine-tuning with 0.7 times the rate, as SGD is linear.
        fine_tune(other, text.all, {.rows_per_step = 3, .step = {.learning_rate = 0.7}});
        REQUIRE(relative_gap(parameters_of(other), parameters_of(policy)) < 1e-12);
    }
}

TEST_CASE("ptx in the trainer keeps the policy on its text; without it nothing moves here") {
    for (const double coefficient : {0.0, 1.0}) {
        players<double> p;
        true_reward constant(nothing);
        const double before = likelihood(p.policy, p.experts.all());
        adversarial_trainer trainer{p.policy,   constant,
                                    no_experts, grpo{.group_size = 4},
                                    ppo_clip{}, ptx(p.experts, {.coefficient = coefficient, .rows = 6})};
        trainer.run(short_run(40, 0.5));
        const double gained = likelihood(p.policy, p.experts.all()) - before;
        if (coefficient > 0)
            REQUIRE(gained > 0.3);
        else
            REQUIRE(gained == 0);
    }
}

TEST_CASE("ptx draws rows of its own for every optimiser step") {
    struct noting {
        token_batch<double> all;
        std::vector<std::uint64_t> seen;
        token_batch<double> sample(std::size_t, rng_key key) {
            seen.push_back(key.seed);
            return all;
        }
    } text{rows_of<double>({{1, 0}}), {}};
    players<double> p;
    true_reward constant(nothing);
    adversarial_trainer trainer{p.policy, constant, no_experts, grpo{.group_size = 4}, ppo_clip{}, ptx(text)};
    auto options = short_run(1);
    options.policy.epochs = options.policy.minibatches = 2;
    trainer.run(options);
    REQUIRE(text.seen.size() == 4);
    std::sort(text.seen.begin(), text.seen.end());
    REQUIRE(std::adjacent_find(text.seen.begin(), text.seen.end()) == text.seen.end());
}

TEST_CASE("ptx refuses a negative coefficient and no rows") {
    same_rows text{rows_of<double>({{1, 0}})};
    REQUIRE(message_of<option_error>([&] { ptx(text, {.coefficient = -1}).check(); }) ==
            "rlgaf::ptx: .coefficient: expected 0 or positive, got -1");
    REQUIRE(message_of<option_error>([&] { ptx(text, {.coefficient = not_a_number}).check(); }) ==
            "rlgaf::ptx: .coefficient: expected 0 or positive, got nan");
    REQUIRE(message_of<option_error>([&] { ptx(text, {.rows = 0}).check(); }) ==
            "rlgaf::ptx: .rows: expected at least 1, got 0");
}
