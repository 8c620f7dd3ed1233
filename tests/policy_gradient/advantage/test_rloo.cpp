#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "rlgaf/policy_gradient/advantage/rloo.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::rloo;

namespace {
/// Straight from the definition: each reward minus the mean of the same reward of the other rows of the group.
table expected(const rloo&, const advantage_case& c) {
    std::vector<double> a(c.shape.size(), 0.0);
    for (const auto& reward : row_rewards(c))
        for (std::size_t i = 0; i < a.size(); ++i) {
            double others = 0, count = 0;
            for (std::size_t j = 0; j < a.size(); ++j)
                if (j != i && c.group[j] == c.group[i] && !std::isnan(reward[j])) others += reward[j], count += 1;
            if (!std::isnan(reward[i]) && count > 0) a[i] += reward[i] - others / count;
        }
    return on_tokens(c, a);
}
}  // namespace

TEST_CASE("rloo keeps the promises of an advantage estimator") {
    check_advantage(
        "rloo", [](dice&) { return rloo{}; }, expected);
}

TEST_CASE("rloo on four rewards: the formula sheet's golden vector") {
    REQUIRE(gap(run_rows(rloo{}, one_token_rows({1, 0, 0.5, 0.25})), {0.75, -0.583333, 0.083333, -0.25}) < 1e-6);
}

TEST_CASE("rloo: a group of one and a row without a reward get 0, and constant groups are counted") {
    advantage_case c = one_token_rows({5, 1, not_a_number, 3});
    c.group = {1, 0, 0, 0};
    c.groups = 3;
    const advantage_result result = run(rloo{}, c);
    REQUIRE(gap(result.advantage, table{{0}, {-2}, {0}, {2}}) < 1e-15);
    REQUIRE(result.stats.constant_groups == 0.5);
}

TEST_CASE("rloo gives a constant group 0 to within rounding") {
    for (const double r : {17.3, 0.1, -5.7, static_cast<double>(17.3f), static_cast<double>(0.1f)}) {
        const advantage_result result = run(rloo{}, one_token_rows(std::vector<double>(8, r)));
        REQUIRE(gap(result.advantage, table(8, {0.0})) < 1e-13);
        REQUIRE(result.stats.constant_groups == 1);
    }
}

TEST_CASE("rloo is unbiased: the mean over all groups of a 3-way categorical is the policy gradient") {
    const double logit[] = {0.3, -0.7, 1.1}, reward[] = {2, -1, 0.5};
    double p[3], total = 0, value = 0;
    for (int k = 0; k < 3; ++k) total += p[k] = std::exp(logit[k]);
    for (int k = 0; k < 3; ++k) value += (p[k] /= total) * reward[k];

    for (const std::size_t size : {2u, 3u}) {
        double gradient[3] = {0, 0, 0};
        const std::size_t groups = size == 2 ? 9 : 27;
        for (std::size_t code = 0; code < groups; ++code) {
            const std::size_t action[] = {code % 3, code / 3 % 3, code / 9};
            std::vector<double> r;
            double probability = 1;
            for (std::size_t i = 0; i < size; ++i) {
                r.push_back(reward[action[i]]);
                probability *= p[action[i]];
            }
            const std::vector<double> a = run_rows(rloo{}, one_token_rows(r));
            for (std::size_t i = 0; i < size; ++i)
                for (std::size_t j = 0; j < 3; ++j)
                    gradient[j] += probability / static_cast<double>(size) * a[i] * ((action[i] == j) - p[j]);
        }
        for (int j = 0; j < 3; ++j) REQUIRE(gap(gradient[j], p[j] * (reward[j] - value)) < 1e-15);
    }
}

TEST_CASE("a batch-mean baseline is 1 - 1 / B times leave-one-out") {
    dice d(7);
    for (std::size_t rows = 2; rows < 9; ++rows) {
        std::vector<double> reward;
        for (std::size_t i = 0; i < rows; ++i) reward.push_back(d.normal());
        std::vector<double> a = run_rows(rloo{}, one_token_rows(reward));
        for (double& v : a) v *= 1 - 1 / static_cast<double>(rows);
        REQUIRE(gap(run_rows(rlgaf::reinforce{}, one_token_rows(reward)), a) < 1e-14);
    }
}
