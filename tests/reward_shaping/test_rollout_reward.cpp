#include "rlgaf/reward_shaping/rollout_reward.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::rollout_credit;
using rlgaf::rollout_reward;

TEST_CASE("rollout_reward pays SeqGAN's Q, or VinePPO's differences of it") {
    const table q = {{0.25, 0.5, 1}, {}, {0.75}};
    REQUIRE(gap(token_reward(rollout_reward{}, q), q) == 0);
    REQUIRE(gap(token_reward(rollout_reward{.initial = 5}, q), q) == 0);  // unused
    const rollout_reward vine{.credit = rollout_credit::difference, .initial = 0.5};
    REQUIRE(gap(token_reward(vine, q), {{-0.25, 0.25, 0.5}, {}, {0.25}}) == 0);
    REQUIRE(gap(token_reward(vine, {{9, 0.25, 9, 1}}, {{0, 1, 0, 1}}), {{0, -0.25, 0, 0.75}}) == 0);
    const rollout_reward centred{.credit = rollout_credit::difference, .initial_is_mean = true};
    REQUIRE(gap(token_reward(centred, q), {{-0.25, 0.25, 0.5}, {}, {0.25}}) == 0);  // (0.25 + 0.75) / 2
    REQUIRE(gap(token_reward(centred, {{3, 5}}), {{0, 2}}) == 0);
}

TEST_CASE("rollout_reward refuses the mean of first values where every row is a group of its own") {
    shaping_step<double> step{.group = {0, 1}, .groups = 2};
    step.prefix_value = {{1, 3}, {5, 9}};
    step.begin({2, 2});
    const rollout_reward vine{.credit = rollout_credit::difference, .initial_is_mean = true};
    REQUIRE(Catch::contains(message_of<rlgaf::option_error>([&] { step.run(vine); }), "got 2 groups of one row"));
    step.group = {0, 0}, step.groups = 1;
    step.begin({2, 2});
    step.run(vine);
    REQUIRE(gap(step.token(), {{-2, 2}, {2, 4}}) == 0);
}

TEST_CASE("rollout_reward: the first value is the mean of the rows of the same prompt, masked slots apart") {
    shaping_step<double> step{.mask = {{0, 1}, {1}, {1}, {0}}, .group = {2, 0, 2, 1}, .groups = 4};
    step.prefix_value = {{not_a_number, 3}, {7}, {5}, {not_a_number}};
    for (int k = 0; k < 2; ++k) {
        step.begin({2, 1, 1, 1});
        step.run(rollout_reward{.credit = rollout_credit::difference, .initial_is_mean = true});
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(gap(step.token(), {{0, -1}, {0}, {1}, {0}}) == 0);
    step.group = {4, 0, 0, 0};
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                step.run(rollout_reward{.credit = rollout_credit::difference, .initial_is_mean = true});
            }) == "rlgaf::rollout_reward: groups.id[0]: expected below 4, got 4");
}

TEST_CASE("rollout_reward's differences sum to the row's score less the first value") {
    dice d(13);
    for (int i = 0; i < 1000; ++i) {
        table q = random_shape(d, 4, 8);
        for (auto& row : q)
            for (double& v : row) v = d.normal();
        const table mask = random_mask(d, q);
        const table r = token_reward(rollout_reward{.credit = rollout_credit::difference, .initial = 0.3}, q, mask);
        for (std::size_t b = 0; b < q.size(); ++b) {
            double last = 0.3;
            for (std::size_t t = 0; t < q[b].size(); ++t)
                if (included(mask, b, t)) last = q[b][t];
            REQUIRE(gap(row_sum(r, mask, b), last - 0.3) < 1e-13);
        }
    }
}

TEST_CASE("rollout_reward in both layouts and in float, and what it refuses") {
    check_token_stage(rollout_reward{}, "rollout_reward", "terms.prefix_value");
    check_token_stage(rollout_reward{.credit = rollout_credit::difference, .initial_is_mean = true}, "rollout_reward",
                      "terms.prefix_value");
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(rollout_reward{.initial = x}, "rollout_reward", "initial"));
}
