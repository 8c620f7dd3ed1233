#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/opo.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::opo;

namespace {
double tokens(const advantage_case& c, std::size_t i) { return static_cast<double>(unmasked(c, c.shape, i).size()); }
/// Each reward minus its mean over all tokens of the group's rows that it applies to.
table expected(const opo&, const advantage_case& c) {
    std::vector<double> a(c.shape.size(), 0.0);
    for (const auto& reward : row_rewards(c))
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (std::isnan(reward[i]) || tokens(c, i) == 0) continue;
            double sum = 0, weight = 0;
            for (std::size_t j = 0; j < a.size(); ++j)
                if (c.group[j] == c.group[i] && !std::isnan(reward[j]))
                    sum += tokens(c, j) * reward[j], weight += tokens(c, j);
            a[i] += reward[i] - sum / weight;
        }
    return on_tokens(c, a);
}
}  // namespace

TEST_CASE("opo keeps the promises of an advantage estimator") {
    check_advantage(
        "opo", [](dice&) { return opo{}; }, expected);
}

TEST_CASE("opo on four rewards of rows of 3, 2, 4 and 1 tokens: the formula sheet's golden vector") {
    const advantage_case golden{
        .shape = {{0, 0, 0}, {0, 0}, {0, 0, 0, 0}, {0}}, .outcome = {{1, 0, 0.5, 0.25}}, .group = {0, 0, 0, 0}};
    REQUIRE(gap(run_rows(opo{}, golden), {0.475, -0.525, -0.025, -0.275}) < 1e-15);
}

TEST_CASE("opo's baseline has the least length-weighted variance of all") {
    dice d(3);
    for (int n = 0; n < 100; ++n) {
        advantage_case c{.shape = random_shape(d, 6, 5), .outcome = {{}}};
        for (std::size_t i = 0; i < c.shape.size(); ++i) c.outcome[0].push_back(d.normal()), c.group.push_back(0);
        const table a = run(opo{}, c).advantage;
        const auto variance = [&](double shift) {
            double sum = 0;
            for (const auto& row : a)
                for (const double v : row) sum += (v + shift) * (v + shift);
            return sum;
        };
        for (const double shift : {-0.1, -0.01, 0.01, 0.1}) REQUIRE(variance(0) <= variance(shift));
    }
}

TEST_CASE("opo: rows without a token weigh nothing, and a group without tokens divides by nothing") {
    advantage_case c = one_token_rows({1, 3, 100, 7, 8});
    c.shape[4] = {};
    c.mask = {{1}, {1}, {0}, {0}, {}};
    c.group = {0, 0, 0, 1, 1};
    c.groups = 3;
    const advantage_result result = run(opo{}, c);
    REQUIRE(same_bits(result.advantage, table{{-1}, {1}, {0}, {0}, {}}));
    REQUIRE(result.stats.constant_groups == 0);
    REQUIRE(run(opo{}, {.outcome = {{}}}).advantage.empty());
}

TEST_CASE("opo: a group of one, a group of equal rewards, a row without a reward get 0") {
    advantage_case c{.shape = {{0, 0}, {0}, {0, 0, 0}, {0}, {0}},
                     .outcome = {{17.3, 0.1, 0.1, 5, not_a_number}},
                     .group = {0, 1, 1, 1, 1},
                     .groups = 2};
    c.outcome[0][3] = 0.1;
    const advantage_result result = run(opo{}, c);
    REQUIRE(same_bits(result.advantage, zeros(c.shape)));
    REQUIRE(result.stats.constant_groups == 1);
    for (const double r : {17.3, -5.7, 1e4 + 0.1, static_cast<double>(0.1f)})
        REQUIRE(same_bits(run_rows(opo{}, one_token_rows(std::vector<double>(7, r))), std::vector<double>(7, 0.0)));
}
