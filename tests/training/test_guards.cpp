#include <limits>

#include "rlgaf/models/ngram.hpp"
#include "rlgaf/rlgaf.hpp"
#include "support/catch.hpp"

using namespace rlgaf;

namespace {

using table_policy = ngram_policy<double>;
using batch = table_policy::batch;

table_policy small_policy() {
    return table_policy({.shape = {.vocabulary = 3, .order = 2}, .max_length = 4, .initial_spread = 0.5});
}
double zero(const batch&, std::size_t) { return 0; }

}  // namespace

TEST_CASE("An infinite reward is refused by name and row, and moves nothing") {
    for (const double bad : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
        table_policy policy = small_policy();
        const xt::xtensor<double, 2> before = policy.logits();
        true_reward truth(zero);
        adversarial_trainer trainer{policy, truth, no_experts, grpo{.group_size = 4},
                                    as_reward("mine", [&](const batch&, std::size_t i) { return i == 5 ? bad : 1.0; })};
        try {
            trainer.run({.rounds = 1, .rows = 16});
            FAIL("not refused");
        } catch (const numeric_error& e) {
            CHECK(std::string(e.what()).find("reward 'mine' of row 5") != std::string::npos);
        }
        CHECK((policy.logits() == before));
        CHECK(trainer.rounds_done() == 0);
    }
}

TEST_CASE("A reward that applies to some rows only is averaged over those") {
    table_policy policy = small_policy();
    true_reward truth(zero);
    adversarial_trainer trainer{policy, truth, no_experts, grpo{.group_size = 4},
                                as_reward("even rows", [](const batch&, std::size_t i) {
                                    return i % 2 == 0 ? 3.0 : std::numeric_limits<double>::quiet_NaN();
                                })};
    CHECK(trainer.run({.rounds = 1, .rows = 16}).reward_mean == 3.0);
}

TEST_CASE("Steps that were forgotten in a loop of one's own are named") {
    table_policy policy = small_policy();
    trajectories<table_policy> round;
    part shaping{logit_reward{}};
    part advantage{rloo{}};
    part loss{ppo_clip{}};
    roll_out(policy, {}, {.rows = 8, .group_size = 4}, {1, 0}, round);
    CHECK_THROWS_AS(shape(shaping, round), shape_error);  // no scores
    CHECK_THROWS_AS(update_policy(policy, round, {}, {1, 0}, advantage, loss), option_error);
    true_reward truth(zero);
    score(truth, round);
    shape(shaping, round);
    update_policy(policy, round, {}, {1, 0}, advantage, loss);
    roll_out(policy, {}, {.rows = 8, .group_size = 4}, {1, 1}, round);
    CHECK_THROWS_AS(shape(shaping, round), shape_error);  // not the scores of the round before
}

TEST_CASE("What an error left in the gradients does not get into the next step") {
    table_policy clean = small_policy(), stained = small_policy();
    token_batch<double> rows;
    const std::int32_t row[] = {1, 2, 0};
    rows.add(row, row_end::terminated);
    for (auto& block : stained.parameters())
        for (double& g : block.gradients) g = 7;
    const sft_options options{.step = {.learning_rate = 0.1}};
    fine_tune(clean, rows, options);
    fine_tune(stained, rows, options);
    CHECK((clean.logits() == stained.logits()));
}

TEST_CASE("A schedule may end at zero, and rounds go on after its end") {
    table_policy policy = small_policy();
    true_reward truth([](const batch& b, std::size_t i) { return static_cast<double>(b.length[i]); });
    adversarial_trainer trainer{policy, truth, no_experts, rloo{.group_size = 4}};
    adversarial_options options{.rounds = 3, .rows = 16};
    options.policy_rate = {.shape = schedule_shape::linear, .to = 0, .steps = 3};
    trainer.run(options);
    const xt::xtensor<double, 2> settled = policy.logits();
    options.policy_rate = {.shape = schedule_shape::linear, .from = 0, .to = 0, .steps = 3};
    CHECK(trainer.run(options).policy_steps == 1);
    CHECK((policy.logits() == settled));
}

TEST_CASE("token_batch::add refuses before it changes anything") {
    token_batch<double> b;
    const std::int32_t row[] = {1, 2};
    const double log_prob[] = {-1, -2};
    b.add(row, row_end::terminated, log_prob);
    CHECK_THROWS_AS(b.add(row, row_end::terminated), shape_error);
    CHECK_THROWS_AS(b.add(row, row_end::terminated, std::span(log_prob).first(1)), shape_error);
    const std::uint8_t mask[] = {1, 0};
    CHECK_THROWS_AS(b.add(row, row_end::terminated, log_prob, 1, mask), shape_error);
    CHECK(rows(b) == 1);
    CHECK(b.token.size() == 2);
    CHECK(b.log_prob.size() == 2);
    b.add(row, row_end::terminated, log_prob);
    CHECK(b.row(1)[0] == 1);
}

TEST_CASE("Without a discriminator step there is no warm-up to wait for") {
    table_policy policy = small_policy();
    ngram_scorer<double> judge({.shape = {.vocabulary = 3, .order = 2}, .initial_spread = 1});
    token_batch<double> rows;
    const std::int32_t row[] = {1, 2, 0};
    rows.add(row, row_end::terminated);
    demonstrations experts{rows};
    adversarial_trainer trainer{policy, judge, experts, grpo{.group_size = 8}};
    CHECK(trainer.run({.rounds = 1, .rows = 16, .discriminator_updates = 0}).policy_steps == 1);
}
