#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/remax.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::remax;

namespace {
table expected(const with_row_arrays<remax>&, const advantage_case& c) {
    table a(c.shape.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        a[i] = returns_of(c, i, 1);
        for (double& v : a[i]) v -= greedy_rewards(c)[i];
    }
    return at_unmasked(c, a);
}
}  // namespace

TEST_CASE("remax keeps the promises of an advantage estimator") {
    check_advantage(
        "remax", [](dice&) { return with_row_arrays<remax>{}; }, expected);
}

TEST_CASE("remax: rewards to go minus what the greedy answer earns") {
    const advantage_case c{.shape = {{0, 0, 0}, {0}},
                           .outcome = {{8, 3}},
                           .token = {{1, not_a_number, 2}, {0}},
                           .mask = {{1, 0, 1}, {1}},
                           .group = {0, 0}};
    for (const layout how : layouts)
        REQUIRE(gap(run_with(remax{}, c, {.greedy_reward = {5, 4}}, how).advantage, table{{6, 0, 5}, {-1}}) < 1e-15);
}

TEST_CASE("remax: a row that earns what the greedy answer earns is left alone; a missing one too") {
    advantage_case c = one_token_rows({17.3, 0.1 + 0.2, 5, not_a_number, 2});
    const table a = run_with(remax{}, c, {.greedy_reward = {17.3, 0.3, not_a_number, 1, 1}}).advantage;
    REQUIRE(same_bits(a, table{{0}, {0}, {0}, {0}, {1}}));
}

TEST_CASE("remax is unbiased: over a 3-way categorical the mean gradient is the policy gradient") {
    const double p[] = {0.2, 0.5, 0.3}, reward[] = {2, -1, 0.5};
    double value = 0, gradient[3] = {0, 0, 0};
    for (int k = 0; k < 3; ++k) value += p[k] * reward[k];
    for (std::size_t k = 0; k < 3; ++k) {
        const double a = run_with(remax{}, one_token_rows({reward[k]}), {.greedy_reward = {reward[1]}}).advantage[0][0];
        for (std::size_t j = 0; j < 3; ++j) gradient[j] += p[k] * a * ((k == j) - p[j]);
    }
    for (int j = 0; j < 3; ++j) REQUIRE(gap(gradient[j], p[j] * (reward[j] - value)) < 1e-15);
}

TEST_CASE("remax reports a step whose rows all earn the same, and refuses a baseline of another size") {
    REQUIRE(run_with(remax{}, one_token_rows({2, 2}), {.greedy_reward = {1, 0}}).stats.constant_groups == 1);
    REQUIRE(run_with(remax{}, one_token_rows({2, 3}), {.greedy_reward = {1, 0}}).stats.constant_groups == 0);
    const auto message = [](const advantage_case& c, const std::vector<double>& greedy) {
        return message_of<rlgaf::shape_error>([&] { run_with(remax{}, c, {.greedy_reward = greedy}); });
    };
    advantage_case c = one_token_rows({1, 2});
    REQUIRE(message(c, {}) == "rlgaf::remax: terms.greedy_reward: expected 2 elements, got 0");
    c.bootstrap = {1};
    REQUIRE(message(c, {1, 1}) == "rlgaf::remax: terms.reward.bootstrap: expected 2 elements, got 1");
    REQUIRE(run_with(remax{}, {.outcome = {{}}}, {}).advantage.empty());
}
