#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/gdpo.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::gdpo;

namespace {

/// Straight from the definition, the mean of the step subtracted as the paper does.
table expected(const gdpo& o, const advantage_case& c) {
    const table rewards = row_rewards(c);
    std::vector<double> total(c.shape.size(), not_a_number), all;
    for (std::size_t k = 0; k < rewards.size(); ++k)
        for (std::size_t i = 0; i < total.size(); ++i) {
            if (std::isnan(rewards[k][i])) continue;
            std::vector<double> peers;
            for (std::size_t j = 0; j < total.size(); ++j)
                if (c.group[j] == c.group[i] && !std::isnan(rewards[k][j])) peers.push_back(rewards[k][j]);
            const spread s = spread_of(peers);
            const double z = s.varies() ? (rewards[k][i] - s.mean) / (s.deviation + o.epsilon) : 0;
            total[i] = (std::isnan(total[i]) ? 0 : total[i]) + (o.weight.empty() ? 1 : o.weight[k]) * z;
        }
    for (const double s : total)
        if (!std::isnan(s)) all.push_back(s);
    const spread s = spread_of(all);
    for (double& v : total) v = std::isnan(v) || !s.varies() ? 0 : (v - s.mean) / (s.deviation + o.epsilon);
    return on_tokens(c, total);
}

}  // namespace

TEST_CASE("gdpo keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) { return gdpo{.epsilon = d.chance(0.5) ? 0 : d.uniform(0, 0.1)}; };
    check_advantage("gdpo", options, expected);
}

TEST_CASE("gdpo with weights: as by definition, one for each outcome and one for the token rewards") {
    dice d(14);
    for (int n = 0; n < 1000; ++n) {
        CAPTURE(n);
        const advantage_case c = random_advantage_case(d);
        gdpo o;
        for (std::size_t k = 0; k < row_rewards(c).size(); ++k) o.weight.push_back(d.chance(0.2) ? 0 : d.normal());
        REQUIRE(gap(run(o, c).advantage, expected(o, c)) < 1e-8);
    }
}

TEST_CASE("gdpo by hand: a large reward does not drown a small one") {
    // Each reward is +-1 / sqrt(2) in its group of two; the sums sqrt(2) and 0 have the deviation 2 / sqrt(3).
    const advantage_case c{.shape = {{0}, {0}, {0}, {0}},
                           .outcome = {{1000, 0, 1000, 0}, {0.001, 0, 0, 0.001}},
                           .group = {0, 0, 1, 1},
                           .groups = 2};
    const double a = std::sqrt(1.5);
    REQUIRE(gap(run_rows(gdpo{}, c), {a, -a, 0, 0}) < 1e-12);
    // grpo, which adds first, sees the first reward only.
    REQUIRE(gap(run_rows(rlgaf::grpo{}, c), {std::sqrt(0.5), -std::sqrt(0.5), std::sqrt(0.5), -std::sqrt(0.5)}) < 1e-5);
}

TEST_CASE("gdpo: the scale of a reward cancels, its weight here does not") {
    dice d(15);
    advantage_case c{.shape = table(6, {0.0}), .outcome = {{}, {}}, .group = {0, 0, 0, 1, 1, 1}, .groups = 2};
    for (int i = 0; i < 6; ++i) c.outcome[0].push_back(d.normal()), c.outcome[1].push_back(d.normal());
    const std::vector<double> plain = run_rows(gdpo{}, c), weighed = run_rows(gdpo{.weight = {1, 3}}, c);
    for (double& r : c.outcome[1]) r *= 3;
    REQUIRE(gap(run_rows(gdpo{}, c), plain) < 1e-14);
    REQUIRE(gap(weighed, plain) > 0.1);
    const std::vector<double> second = run_rows(gdpo{.weight = {0, 1}}, c);
    c.outcome.erase(c.outcome.begin());
    REQUIRE(gap(run_rows(gdpo{}, c), second) < 1e-14);
}

TEST_CASE("gdpo with one reward is grpo over the deviation of the step") {
    const std::vector<double> a = run_rows(gdpo{}, one_token_rows({1, 0, 0.5, 0.25}));
    REQUIRE(gap(a, {1.317465, -1.024695, 0.146385, -0.439155}) < 1e-6);  // the deviation of z in one group is 1
}

TEST_CASE("gdpo: constant rewards add nothing; constant groups, groups of one and rows without a reward get 0") {
    advantage_case c = one_token_rows({17.3, 17.3, 17.3, 5, 1, 2, not_a_number});
    c.outcome.push_back({0.1, 0.1, 0.1, 8, 0.1, 0.1, not_a_number});
    c.group = {0, 0, 0, 1, 2, 2, 2};
    c.groups = 4;
    const advantage_result result = run(gdpo{}, c);
    for (const std::size_t i : {0u, 1u, 2u, 3u, 6u}) REQUIRE(same_bits(result.advantage[i], {0.0}));
    REQUIRE(gap(result.advantage[4][0] + result.advantage[5][0], 0) < 1e-15);
    REQUIRE(result.advantage[5][0] > 0);
    REQUIRE(gap(result.stats.constant_groups, 2.0 / 3) < 1e-15);

    // Rewards that cancel in the sum teach nothing either.
    c = one_token_rows({1, 2});
    c.outcome.push_back({2, 1});
    REQUIRE(gap(run_rows(gdpo{}, c), {0, 0}) == 0);
    REQUIRE(run(gdpo{}, {.outcome = {{}}}).advantage.empty());
    REQUIRE(same_bits(run_rows(gdpo{}, one_token_rows({3})), {0.0}));
}

TEST_CASE("gdpo refuses options out of range by name") {
    for (const double x : {-1e-9, -infinity, not_a_number}) REQUIRE(refuses(gdpo{.epsilon = x}, "gdpo", "epsilon"));
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(gdpo{.weight = {1, x}}, "gdpo", "weight"));
    REQUIRE_THROWS_AS(run(gdpo{.epsilon = -1}, one_token_rows({1, 2})), rlgaf::option_error);
    REQUIRE(message_of<rlgaf::option_error>([] {
                run(gdpo{.weight = {1, 2}}, one_token_rows({1, 2}));
            }) == "rlgaf::gdpo: .weight: expected one for each of 1 rewards, got 2");
    REQUIRE_NOTHROW(gdpo{.weight = {-1, 0, 2}}.check());
}
