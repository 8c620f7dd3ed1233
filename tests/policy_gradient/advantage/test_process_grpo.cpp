#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/advantage/process_grpo.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::process_grpo;

namespace {

struct step {
    std::size_t row, token;
    double reward;
};
/// All steps of a case, outcomes at the last unmasked token.
std::vector<step> steps_of(const advantage_case& c) {
    std::vector<step> steps;
    for (std::size_t i = 0; i < c.shape.size(); ++i) {
        if (!has_reward(c, i)) continue;
        std::size_t last = c.shape[i].size();
        for (std::size_t t = 0; t < c.shape[i].size(); ++t)
            if (included(c.mask, i, t)) last = t;
        bool outcome = false;
        for (const auto& reward : c.outcome) outcome = outcome || !std::isnan(reward[i]);
        for (std::size_t t = 0; t < c.shape[i].size(); ++t) {
            if (!included(c.mask, i, t)) continue;
            double r = c.token.empty() ? 0 : c.token[i][t];
            if (t == last)
                for (const auto& reward : c.outcome) r += std::isnan(reward[i]) ? 0 : reward[i];
            if (r != 0 || (t == last && outcome)) steps.push_back({i, t, r});
        }
    }
    return steps;
}
table expected(const process_grpo& o, const advantage_case& c) {
    const std::vector<step> steps = steps_of(c);
    return table_like(c.shape, [&](std::size_t i, std::size_t t) {
        if (!included(c.mask, i, t)) return 0.0;
        std::vector<double> peers;
        bool alone = true;
        for (const step& s : steps)
            if (c.group[s.row] == c.group[i]) peers.push_back(s.reward), alone = alone && s.row == i;
        const spread all = spread_of(peers);
        if (alone || !all.varies()) return 0.0;
        double a = 0;
        for (const step& s : steps)
            if (s.row == i && s.token >= t) a += (s.reward - all.mean) / (all.deviation + o.epsilon);
        return a;
    });
}

}  // namespace

TEST_CASE("process_grpo keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) { return process_grpo{.epsilon = d.chance(0.5) ? 0 : d.uniform(0, 0.1)}; };
    check_advantage("process_grpo", options, expected);
}

TEST_CASE("process_grpo with steps among tokens without a reward") {
    dice d(12);
    for (int n = 0; n < 1000; ++n) {
        CAPTURE(n);
        advantage_case c = random_advantage_case(d);
        c.token = table_like(c.shape, [&](auto, auto) { return d.chance(0.6) ? 0 : d.normal(); });
        REQUIRE(gap(run(process_grpo{}, c).advantage, expected({}, c)) < 1e-9);
    }
}

TEST_CASE("process_grpo by hand: a token gets its own and all later steps") {
    // Steps 1, 0.5 | 3, 0.5: mean 1.25, so that they are -0.25, -0.75 | 1.75, -0.75.
    const advantage_case c{.shape = {{0, 0, 0, 0}, {0, 0, 0}}, .token = {{0, 1, 0, 0.5}, {3, 0.5, 0}}, .group = {0, 0}};
    const double s = std::sqrt((0.0625 + 0.5625 + 3.0625 + 0.5625) / 3);
    REQUIRE(gap(run(process_grpo{}, c).advantage,
                table{{-1 / s, -1 / s, -0.75 / s, -0.75 / s}, {1 / s, -0.75 / s, 0}}) < 1e-14);
}

TEST_CASE("process_grpo with outcomes only is grpo, zero outcomes included") {
    const advantage_case golden{
        .shape = {{0, 0, 0}, {0, 0}, {0, 0, 0, 0}, {0}}, .outcome = {{1, 0, 0.5, 0.25}}, .group = {0, 0, 0, 0}};
    REQUIRE(gap(run_rows(process_grpo{.epsilon = 1e-4}, golden), {1.317157, -1.024455, 0.146351, -0.439052}) < 1e-6);
    dice d(13);
    for (int n = 0; n < 300; ++n) {
        advantage_case c{.shape = random_shape(d, 8, 4), .outcome = {{}}, .groups = 2};
        for (auto& row : c.shape) row.push_back(0);
        for (std::size_t i = 0; i < c.shape.size(); ++i) {
            c.outcome[0].push_back(static_cast<double>(d.below(3)) - 1);
            c.group.push_back(static_cast<std::uint32_t>(d.below(2)));
        }
        REQUIRE(gap(run(process_grpo{}, c).advantage, run(rlgaf::grpo{}, c).advantage) < 1e-12);
    }
}

TEST_CASE("process_grpo: a group of one, equal steps and rows without a step get 0") {
    advantage_case c{.shape = {{0, 0}, {0, 0}, {0}, {0}, {0}},
                     .token = {{1, 5}, {17.3, 17.3}, {17.3}, {0}, {4}},
                     .group = {0, 1, 1, 1, 2},
                     .groups = 4};
    const advantage_result result = run(process_grpo{}, c);
    REQUIRE(same_bits(result.advantage, zeros(c.shape)));
    REQUIRE(result.stats.constant_groups == 1);
    c.token[2] = {17.4};
    REQUIRE(gap(run(process_grpo{}, c).stats.constant_groups, 2.0 / 3) < 1e-15);
    REQUIRE(run(process_grpo{}, {.outcome = {{}}}).advantage.empty());
}

TEST_CASE("process_grpo refuses an epsilon out of range by name") {
    for (const double x : {-1e-9, -infinity, not_a_number})
        REQUIRE(refuses(process_grpo{.epsilon = x}, "process_grpo", "epsilon"));
    REQUIRE_THROWS_AS(run(process_grpo{.epsilon = -1}, one_token_rows({1, 2})), rlgaf::option_error);
}
