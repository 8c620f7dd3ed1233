#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce_plus_plus.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::reinforce_plus_plus;
using rlgaf::variance_kind;

namespace {

/// Group-centred rewards of each row, summed; NaN for a row without a reward or in a group that teaches nothing.
std::vector<double> centred_rows(const advantage_case& c) {
    const std::size_t rows = c.shape.size();
    std::vector<double> a(rows, not_a_number), level(rows, 0.0);
    for (const auto& reward : row_rewards(c))
        for (std::size_t i = 0; i < rows; ++i) {
            double sum = 0, count = 0;
            for (std::size_t j = 0; j < rows; ++j)
                if (c.group[j] == c.group[i] && !std::isnan(reward[j])) sum += reward[j], count += 1;
            if (count > 0) level[i] += sum / count;
            if (!std::isnan(reward[i])) a[i] = (std::isnan(a[i]) ? 0 : a[i]) + reward[i] - sum / count;
        }
    std::vector<double> out = a;
    for (std::size_t i = 0; i < rows; ++i) {
        double largest = 0;
        for (std::size_t j = 0; j < rows; ++j)
            if (c.group[j] == c.group[i] && !std::isnan(a[j])) largest = std::fmax(largest, std::abs(a[j]));
        if (!spread{level[i], largest}.varies()) out[i] = not_a_number;
    }
    return out;
}
table expected(const reinforce_plus_plus& o, const advantage_case& c) {
    table x(c.shape.size());
    const std::vector<double> row = centred_rows(c);
    for (std::size_t i = 0; i < x.size(); ++i) {
        if (!o.group_baseline)
            x[i] = returns_of(c, i, o.discount);
        else if (!std::isnan(row[i]))
            for (std::size_t t = 0; t < c.shape[i].size(); ++t)
                if (included(c.mask, i, t)) x[i].push_back(row[i]);
    }
    return at_unmasked(c, whitened(x, o.variance));
}
const advantage_case golden{
    .shape = {{0, 0, 0}, {0, 0}, {0, 0, 0, 0}, {0}}, .outcome = {{1, 0, 0.5, 0.25}}, .group = {0, 0, 0, 0}};

}  // namespace

TEST_CASE("reinforce_plus_plus keeps the promises of an advantage estimator, in both forms") {
    for (const bool group_baseline : {false, true})
        check_advantage(
            "reinforce_plus_plus",
            [&](dice& d) {
                return reinforce_plus_plus{.group_baseline = group_baseline,
                                           .discount = d.chance(0.5) ? 1 : d.uniform(),
                                           .variance = d.chance(0.5) ? variance_kind::bessel : variance_kind::biased,
                                           .group_size = 0};
            },
            expected);
}

TEST_CASE("reinforce_plus_plus with a group baseline: the formula sheet's golden vectors") {
    const auto first_tokens = [](variance_kind kind) {
        return run_rows(reinforce_plus_plus{.group_baseline = true, .variance = kind, .group_size = 4}, golden);
    };
    REQUIRE(gap(first_tokens(variance_kind::bessel), {1.246814, -1.378058, -0.065622, -0.721840}) < 1e-6);
    REQUIRE(gap(first_tokens(variance_kind::biased), {1.314257, -1.452600, -0.069171, -0.760886}) < 1e-6);
}

TEST_CASE("reinforce_plus_plus whitens rewards to go over all tokens of the step") {
    // Returns 3 2 | 5, their mean 10 / 3 and deviation sqrt(7 / 3).
    const advantage_case c{.shape = {{0, 0}, {0}}, .outcome = {{2, 5}}, .token = {{1, 0}, {0}}, .group = {0, 0}};
    const double s = std::sqrt(7.0 / 3);
    REQUIRE(gap(run(reinforce_plus_plus{}, c).advantage, table{{-1 / (3 * s), -4 / (3 * s)}, {5 / (3 * s)}}) < 1e-14);
}

TEST_CASE("reinforce_plus_plus: a reward flows back across a tool hole") {
    // verl sets the running return to 0 at a masked token, so that all turns but the last earn nothing.
    const advantage_case c{.shape = {{0, 0, 0}, {0}}, .outcome = {{4, 0}}, .mask = {{1, 0, 1}, {1}}, .group = {0, 0}};
    const table a = run(reinforce_plus_plus{}, c).advantage;
    REQUIRE(gap(a, table{{1 / std::sqrt(3.0), 0, 1 / std::sqrt(3.0)}, {-2 / std::sqrt(3.0)}}) < 1e-14);
}

TEST_CASE("reinforce_plus_plus: a token's KL penalty weighs on the tokens before it only") {
    const advantage_case c{.shape = {{0, 0, 0}, {0}}, .outcome = {{0, 0}}, .token = {{0, -1, 0}, {0}}, .group = {0, 0}};
    const table a = run(reinforce_plus_plus{}, c).advantage;
    REQUIRE(a[0][0] == a[0][1]);
    REQUIRE(a[0][1] < 0);
    REQUIRE(a[0][2] == a[1][0]);
    REQUIRE(a[0][2] > 0);
}

TEST_CASE("reinforce_plus_plus: groups that teach nothing get exactly 0 and do not shift the others") {
    advantage_case c = golden;
    const table alone = run(reinforce_plus_plus{.group_baseline = true, .group_size = 0}, golden).advantage;
    // A group of one, one of equal rewards, and a row without a reward.
    for (const double r : {9.0, 17.3, 17.3, 17.3, not_a_number}) c.shape.push_back({0, 0}), c.outcome[0].push_back(r);
    c.group = {0, 0, 0, 0, 1, 2, 2, 2, 3};
    c.groups = 4;
    const advantage_result result = run(reinforce_plus_plus{.group_baseline = true, .group_size = 0}, c);
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(gap(result.advantage[i], alone[i]) < 1e-14);
    for (std::size_t i = 4; i < 9; ++i) REQUIRE(same_bits(result.advantage[i], {0, 0}));
    REQUIRE(gap(result.stats.constant_groups, 2.0 / 3) < 1e-15);
}

TEST_CASE("reinforce_plus_plus: constant rewards, one token and no token give exactly 0") {
    for (const double r : {17.3, 0.1, -5.7, static_cast<double>(0.1f)})
        for (const std::size_t rows : {1u, 3u, 50u}) {
            const advantage_case c = one_token_rows(std::vector<double>(rows, r));
            const advantage_result result = run(reinforce_plus_plus{}, c);
            REQUIRE(same_bits(result.advantage, zeros(c.shape)));
            REQUIRE(result.stats.constant_groups == 1);
        }
    REQUIRE(run(reinforce_plus_plus{}, {.outcome = {{}}}).advantage.empty());
    REQUIRE(run(reinforce_plus_plus{}, golden).stats.constant_groups == 0);
}

TEST_CASE("reinforce_plus_plus refuses options and a bootstrap out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(reinforce_plus_plus{.discount = x}, "reinforce_plus_plus", "discount"));
    REQUIRE(refuses(reinforce_plus_plus{.group_baseline = true}, "reinforce_plus_plus", "group_size"));
    REQUIRE_THROWS_AS(run(reinforce_plus_plus{.group_baseline = true}, golden), rlgaf::option_error);
    REQUIRE_NOTHROW((reinforce_plus_plus{.group_baseline = true, .group_size = 0}.check()));
    advantage_case c = golden;
    c.bootstrap = {1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { run(reinforce_plus_plus{}, c); }) ==
            "rlgaf::reinforce_plus_plus: terms.reward.bootstrap: expected 4 elements, got 1");
}
