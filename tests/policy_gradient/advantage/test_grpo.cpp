#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::grpo;
using rlgaf::reward_scale;

namespace {

double mean(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    return sum / static_cast<double>(x.size());
}
double deviation(const std::vector<double>& x) {
    if (x.size() < 2) return 0;
    double sum = 0;
    for (const double v : x) sum += (v - mean(x)) * (v - mean(x));
    return std::sqrt(sum / static_cast<double>(x.size() - 1));
}

/// Straight from the definition: centre each reward on the rows of the group that it applies to, add up, scale.
table expected(const grpo& o, const advantage_case& c) {
    const std::size_t rows = c.shape.size();
    std::vector<double> a(rows, not_a_number), total(rows, 0.0), all;
    for (const auto& reward : row_rewards(c))
        for (std::size_t i = 0; i < rows; ++i) {
            if (std::isnan(reward[i])) continue;
            std::vector<double> peers;
            for (std::size_t j = 0; j < rows; ++j)
                if (c.group[j] == c.group[i] && !std::isnan(reward[j])) peers.push_back(reward[j]);
            a[i] = (std::isnan(a[i]) ? 0 : a[i]) + reward[i] - mean(peers);
            total[i] += reward[i];
        }
    std::vector<double> out(rows, 0.0);
    for (std::size_t i = 0; i < rows; ++i)
        if (!std::isnan(a[i])) all.push_back(total[i]);
    for (std::size_t i = 0; i < rows; ++i) {
        std::vector<double> peers;
        for (std::size_t j = 0; j < rows; ++j)
            if (c.group[j] == c.group[i] && !std::isnan(a[j])) peers.push_back(a[j]);
        const double spread = deviation(peers);
        if (std::isnan(a[i]) || spread <= equal_rewards(c, i)) continue;
        const double by = o.scale == reward_scale::group ? spread : deviation(all);
        out[i] = o.scale == reward_scale::none ? a[i] : a[i] / (by + o.epsilon);
    }
    return on_tokens(c, out);
}

/// Rewards of the sheet's golden vectors, with rows of 3, 2, 4 and 1 tokens.
const advantage_case golden{
    .shape = {{0, 0, 0}, {0, 0}, {0, 0, 0, 0}, {0}}, .outcome = {{1, 0, 0.5, 0.25}}, .group = {0, 0, 0, 0}};
}  // namespace

TEST_CASE("grpo keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) {
        return grpo{.scale = static_cast<reward_scale>(d.below(3)), .epsilon = d.chance(0.5) ? 0 : d.uniform(0, 0.1)};
    };
    check_advantage("grpo", options, expected);
}

TEST_CASE("grpo on four rewards: the formula sheet's golden vectors") {
    REQUIRE(gap(run_rows(grpo{.epsilon = 1e-4}, golden), {1.317157, -1.024455, 0.146351, -0.439052}) < 1e-6);
    REQUIRE(gap(run_rows(grpo{.epsilon = 1e-6}, golden), {1.317462, -1.024693, 0.146385, -0.439154}) < 1e-6);
    REQUIRE(gap(run_rows(grpo{.scale = reward_scale::none}, golden), {0.5625, -0.4375, 0.0625, -0.1875}) < 1e-15);
    // One group: the deviation of the step is that of the group.
    REQUIRE(gap(run_rows(grpo{.scale = reward_scale::batch, .epsilon = 1e-4}, golden),
                {1.317157, -1.024455, 0.146351, -0.439052}) < 1e-6);
}

TEST_CASE("grpo: equal sums of rewards, some missing, have no spread to divide by") {
    const advantage_case c{.shape = {{0}, {0}}, .outcome = {{1, 2}, {1, not_a_number}}, .group = {0, 0}};
    REQUIRE(run_rows(grpo{.scale = reward_scale::batch}, c) == std::vector<double>{0, 0});
    const double half = std::sqrt(0.5);
    REQUIRE(gap(run_rows(grpo{}, c), {-half, half}) < 1e-15);
}

TEST_CASE("grpo with one success in a group: (G - 1) / sqrt(G), and -1 / sqrt(G) for the others") {
    for (const std::size_t size : {2, 4, 8, 16}) {
        std::vector<double> reward(size, 0.0);
        reward[1] = 1;
        const double g = static_cast<double>(size);
        const std::vector<double> a = run_rows(grpo{}, one_token_rows(reward));
        REQUIRE(gap(a[1], (g - 1) / std::sqrt(g)) < 1e-12);
        REQUIRE(gap(a[0], -1 / std::sqrt(g)) < 1e-12);
    }
}

TEST_CASE("grpo gives a constant group exactly 0, not noise divided by noise") {
    // The sheet's trap 5: in single precision, and with an epsilon only, these groups get advantages near -1.
    const struct {
        double reward;
        std::size_t size;
    } groups[] = {{17.3, 8}, {0.1, 8}, {-5.7, 3}, {1e4 + 0.1, 7}, {0, 4}};
    for (const auto& g : groups)
        for (const double r : {g.reward, static_cast<double>(static_cast<float>(g.reward))})
            for (const reward_scale scale : {reward_scale::group, reward_scale::batch, reward_scale::none}) {
                advantage_case c = one_token_rows(std::vector<double>(g.size, r));
                c.outcome.push_back(std::vector<double>(g.size, 0.1));  // two constant rewards
                // a second group that does vary, so that the step's deviation is not 0
                for (const double other : {1.0, 2.0}) {
                    c.shape.push_back({0});
                    c.outcome[0].push_back(other), c.outcome[1].push_back(0);
                    c.group.push_back(1);
                }
                c.groups = 2;
                const advantage_result result = run(grpo{.scale = scale}, c);
                for (std::size_t i = 0; i < g.size; ++i) REQUIRE(result.advantage[i][0] == 0);
                REQUIRE(result.advantage[g.size][0] < 0);
                REQUIRE(result.stats.constant_groups == 0.5);
            }
}

TEST_CASE("grpo sees a small spread on a large offset") {
    const std::vector<double> a = run_rows(grpo{}, one_token_rows({1000.01, 1000.02, 1000.03}));
    REQUIRE(gap(a, {-1, 0, 1}) < 1e-9);
}

TEST_CASE("grpo: a group of one and a row without a reward get 0") {
    advantage_case c = one_token_rows({5, 1, not_a_number, 3, not_a_number});
    c.group = {1, 0, 0, 0, 2};
    c.groups = 4;
    for (const reward_scale scale : {reward_scale::group, reward_scale::none}) {
        const double by = scale == reward_scale::group ? std::sqrt(2.0) : 1;
        const advantage_result result = run(grpo{.scale = scale}, c);
        REQUIRE(gap(result.advantage, table{{0}, {-1 / by}, {0}, {1 / by}, {0}}) < 1e-12);
        REQUIRE(result.stats.constant_groups == 0.5);  // of the two groups with a reward
    }
    c.outcome = {std::vector<double>(5, not_a_number)};
    const advantage_result nothing = run(grpo{}, c);
    REQUIRE(gap(nothing.advantage, table(5, {0.0})) == 0);
    REQUIRE(nothing.stats.constant_groups == 0);
}

TEST_CASE("grpo: a row without an unmasked token stays in its group's baseline") {
    advantage_case c = one_token_rows({0, 3, 6});
    c.mask = {{1}, {1}, {0}};
    REQUIRE(gap(run_rows(grpo{.scale = reward_scale::none}, c), {-3, 0, 0}) < 1e-15);
}

TEST_CASE("grpo: a score far out cannot exceed (G - 1) / sqrt(G)") {
    const std::vector<double> a = run_rows(grpo{}, one_token_rows({1e4, -1e4, 0, 1e300, 0, 0, 0, 0}));
    for (const double v : a) REQUIRE(std::abs(v) <= 7 / std::sqrt(8.0) + 1e-12);
}

TEST_CASE("grpo refuses an epsilon out of range by name") {
    for (const double x : {-1e-9, -infinity, not_a_number}) REQUIRE(refuses(grpo{.epsilon = x}, "grpo", "epsilon"));
    REQUIRE_THROWS_AS(run(grpo{.epsilon = -1}, golden), rlgaf::option_error);
}
