#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/bnpo.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"

using namespace rlgaf_test;
using rlgaf::bnpo;

namespace {

/// 1 / Beta(p; alpha, beta), by logarithms.
double inverse_density(double p, double alpha, double beta) {
    const double log_density = std::lgamma(alpha + beta) - std::lgamma(alpha) - std::lgamma(beta) +
                               (alpha - 1) * std::log(p) + (beta - 1) * std::log(1 - p);
    return std::exp(-log_density);
}

/// Straight from the definition, one reward after the other.
table expected(const bnpo& o, const advantage_case& c) {
    const std::size_t rows = c.shape.size();
    std::vector<double> out(rows, 0.0);
    const table rewards = row_rewards(c);
    for (const auto& reward : rewards) {
        std::vector<double> x(rows, not_a_number), means;
        for (std::size_t i = 0; i < rows; ++i)
            if (!std::isnan(reward[i])) {
                x[i] = (reward[i] - o.low) / (o.high - o.low);
                x[i] = x[i] < 0 ? 0 : x[i] > 1 ? 1 : x[i];
            }
        const auto mean_of = [&](std::size_t i) {
            double sum = 0, count = 0;
            for (const std::size_t j : peers_of(c, x, i)) sum += x[j], count += 1;
            return sum / count;
        };
        for (std::size_t i = 0; i < rows; ++i)
            if (!std::isnan(x[i]) && peers_of(c, x, i).front() == i) means.push_back(mean_of(i));
        const double groups = static_cast<double>(means.size());
        double m = 0, v = 0;
        for (const double p : means) m += p / groups;
        for (const double p : means) v += (p - m) * (p - m) / (groups - 1);
        for (std::size_t i = 0; i < rows; ++i) {
            if (std::isnan(x[i])) continue;
            const double p = mean_of(i);
            double weight = 1;
            if (means.size() > 1 && v > 1e-20 && p > 0 && p < 1) {
                const double a = (m * (1 - m) / v - 1) * m, b = (m * (1 - m) / v - 1) * (1 - m);
                weight = inverse_density(p, a > 0 ? 1 + a / 3 : 1, b > 0 ? 1 + b / 3 : 1);
                weight = weight > o.max_weight ? o.max_weight : weight;
            }
            out[i] += weight * (x[i] - p) / static_cast<double>(rewards.size());
        }
    }
    return on_tokens(c, out);
}

/// Groups of four rows with the given numbers of successes.
advantage_case groups_of_four(const std::vector<std::size_t>& successes) {
    std::vector<double> reward;
    for (const std::size_t s : successes)
        for (std::size_t i = 0; i < 4; ++i) reward.push_back(i < s);
    advantage_case c = one_token_rows(reward);
    for (std::size_t i = 0; i < reward.size(); ++i) c.group[i] = static_cast<std::uint32_t>(i / 4);
    c.groups = successes.size();
    return c;
}
}  // namespace

TEST_CASE("bnpo keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) {
        const bool wide = d.chance(0.5);
        return bnpo{.low = wide ? -20 : d.uniform(-1, 0),
                    .high = wide ? 1050 : d.uniform(0.1, 2),
                    .max_weight = d.uniform(0.5, 50)};
    };
    check_advantage("bnpo", options, expected);
}

TEST_CASE("bnpo by hand: success rates 1/4, 1/2 and 3/4") {
    // mean 1/2, variance 1/16: c = 3, both parameters 3/2; Beta(p; 3/2, 3/2) = 8 / pi sqrt(p (1 - p))
    const double pi = 3.14159265358979323846, middle = pi / 8 / 0.5, outer = pi / 8 / std::sqrt(3.0 / 16);
    const std::vector<double> a = run_rows(bnpo{}, groups_of_four({1, 2, 3}));
    REQUIRE(gap(a, {0.75 * outer, -0.25 * outer, -0.25 * outer, -0.25 * outer, 0.5 * middle, 0.5 * middle,
                    -0.5 * middle, -0.5 * middle, 0.25 * outer, 0.25 * outer, 0.25 * outer, -0.75 * outer}) < 1e-12);
}

TEST_CASE("bnpo with Beta(3/2, 3/2) is grpo up to a factor, with Beta(1, 1) it is centring") {
    const advantage_case half = groups_of_four({1, 2, 3});
    std::vector<double> grpo = run_rows(rlgaf::grpo{}, half);
    for (double& v : grpo) v *= std::sqrt(4.0 / 3) * 3.14159265358979323846 / 8;
    REQUIRE(gap(run_rows(bnpo{}, half), grpo) < 1e-12);
    // rates 0, 1, 1/2: variance 1/4 = m (1 - m), so c = 0
    REQUIRE(gap(run_rows(bnpo{}, groups_of_four({0, 4, 2})), {0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0.5, -0.5, -0.5}) < 1e-15);
}

TEST_CASE("bnpo by hand: rates of mean 1/3 and variance 1/45 give Beta(2, 3), 12 p (1 - p)^2") {
    const double step = std::sqrt(1.0 / 45);
    std::vector<double> p = {1.0 / 3 - step, 1.0 / 3, 1.0 / 3 + step}, reward;
    for (const double mean : p) reward.push_back(mean - 0.1), reward.push_back(mean + 0.1);
    advantage_case c = one_token_rows(reward);
    c.group = {0, 0, 1, 1, 2, 2};
    c.groups = 3;
    const std::vector<double> a = run_rows(bnpo{}, c);
    for (std::size_t g = 0; g < 3; ++g) {
        REQUIRE(gap(a[2 * g + 1], 0.1 / (12 * p[g] * (1 - p[g]) * (1 - p[g]))) < 1e-12);
        REQUIRE(gap(a[2 * g], -a[2 * g + 1]) < 1e-12);
    }
}

TEST_CASE("bnpo with one group, or with groups of one success rate, has nothing to normalise by: weight 1") {
    REQUIRE(gap(run_rows(bnpo{}, groups_of_four({1})), {0.75, -0.25, -0.25, -0.25}) < 1e-15);
    REQUIRE(gap(run_rows(bnpo{}, groups_of_four({2, 2})), {0.5, 0.5, -0.5, -0.5, 0.5, 0.5, -0.5, -0.5}) < 1e-15);
}

TEST_CASE("bnpo bounds the weight of a success rate that the density calls impossible") {
    std::vector<double> reward = {1e-6, 3e-6};
    for (int g = 0; g < 20; ++g) reward.push_back(0.4), reward.push_back(0.6);
    advantage_case c = one_token_rows(reward);
    for (std::size_t i = 0; i < reward.size(); ++i) c.group[i] = static_cast<std::uint32_t>(i / 2);
    c.groups = 21;
    REQUIRE(gap(run_rows(bnpo{.max_weight = 100}, c)[1], 100 * 1e-6) < 1e-15);
    REQUIRE(gap(run_rows(bnpo{}, c)[1], 1e6 * 1e-6) < 1e-9);
    REQUIRE(run_rows(bnpo{.max_weight = 100}, c)[3] < 0.1);
}

TEST_CASE("bnpo without a bound on the weight still gives groups that always or never succeed 0") {
    const advantage_result r = run(bnpo{.max_weight = infinity}, groups_of_four({0, 1, 2, 3, 4}));
    for (const std::size_t i : {0u, 1u, 2u, 3u, 16u, 17u, 18u, 19u}) REQUIRE(r.advantage[i][0] == 0);
    REQUIRE(r.stats.constant_groups == 0.4);
}

TEST_CASE("bnpo without a bound on the weight, where the density is too small for a number: 0 stays 0") {
    // 6000 groups of one row, all of them 0.5 but one: its density is below exp(-1500).
    std::vector<double> reward(6000, 0.5);
    reward[17] = 0.9;
    advantage_case c = one_token_rows(reward);
    for (std::size_t i = 0; i < reward.size(); ++i) c.group[i] = static_cast<std::uint32_t>(i);
    c.groups = reward.size();
    const advantage_result r = run(bnpo{.max_weight = infinity}, c);
    REQUIRE(gap(r.advantage, zeros(c.shape)) == 0);
}

TEST_CASE("bnpo scales rewards to [0, 1], and one outside counts as the bound") {
    advantage_case plain = groups_of_four({1, 2, 3}), scaled = plain;
    for (double& r : scaled.outcome[0]) r = r > 0.5 ? 10 : -10;
    REQUIRE(gap(run_rows(bnpo{.low = -10, .high = 10}, scaled), run_rows(bnpo{}, plain)) < 1e-12);
    for (double& r : scaled.outcome[0]) r = r > 0 ? 1e300 : -infinity;
    REQUIRE(gap(run_rows(bnpo{.low = -10, .high = 10}, scaled), run_rows(bnpo{}, plain)) < 1e-12);
}

TEST_CASE("bnpo normalises several rewards each by its own density and takes the mean") {
    advantage_case one = groups_of_four({1, 2, 3}), other = groups_of_four({4, 1, 1}), both = one;
    both.outcome.push_back(other.outcome[0]);
    const std::vector<double> a = run_rows(bnpo{}, one), b = run_rows(bnpo{}, other), ab = run_rows(bnpo{}, both);
    for (std::size_t i = 0; i < ab.size(); ++i) REQUIRE(gap(ab[i], (a[i] + b[i]) / 2) < 1e-15);
}

TEST_CASE("bnpo: constant groups (trap 5), of one (trap 7), shuffled (trap 27), NaN rewards (trap 28)") {
    const bnpo o{.low = -20000, .high = 20000};
    check_constant_groups(o);
    check_groups_of_one(o);
    check_groups_of_one(bnpo{.low = 0, .high = 10});
    check_shuffled_groups(bnpo{.low = -2, .high = 3});
    check_missing_rewards(bnpo{.low = -2, .high = 3});
}

TEST_CASE("bnpo refuses options out of range by name") {
    for (const double x : {-infinity, infinity, not_a_number}) REQUIRE(refuses(bnpo{.low = x}, "bnpo", "low"));
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(bnpo{.high = x}, "bnpo", "high"));
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE(refuses(bnpo{.max_weight = x}, "bnpo", "max_weight"));
    REQUIRE_THROWS_AS(run(bnpo{.high = -1}, one_token_rows({1, 2})), rlgaf::option_error);
}
