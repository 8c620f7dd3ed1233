#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/rank_rescale.hpp"

using namespace rlgaf_test;
using rlgaf::rank_rescale;

namespace {

/// Straight from the definition: counts of smaller and of equal values, nothing is sorted.
double rescaled(const rank_rescale& o, const std::vector<double>& value, std::size_t self) {
    const double n = static_cast<double>(value.size());
    const auto sigmoid_of = [&](double x) {
        double smaller = 0, equal = 0;
        for (const double v : value) smaller += v < x, equal += v == x;
        return 1 / (1 + std::exp(-o.delta * ((smaller + (equal + 1) / 2) / n - 0.5)));
    };
    double mean = 0;
    for (const double v : value) mean += sigmoid_of(v) / n;
    return sigmoid_of(value[self]) - (o.subtract_mean ? mean : 0);
}

/// Every position on its own where token rewards are given.
table expected(const rank_rescale& o, const advantage_case& c) {
    if (c.token.empty())
        return row_by_row(c, [&](const auto& value, std::size_t self) { return rescaled(o, value, self); });
    advantage_case outcomes_only = c;
    outcomes_only.token = {};
    const std::vector<double> outcome = total_rewards(outcomes_only);
    const auto value_of = [&](std::size_t i, std::size_t t) {
        double value = std::isnan(outcome[i]) ? 0 : outcome[i];
        if (!o.to_go) return value + c.token[i][t];
        if (!c.bootstrap.empty()) value += c.bootstrap[i];
        for (std::size_t s = c.token[i].size(); s-- > t;)
            if (included(c.mask, i, s)) value += c.token[i][s];
        return value;
    };
    return table_like(c.shape, [&](std::size_t i, std::size_t t) {
        if (!included(c.mask, i, t) || !has_reward(c, i)) return 0.0;
        std::vector<double> value;
        std::size_t self = 0;
        for (std::size_t j = 0; j < c.shape.size(); ++j) {
            if (c.group[j] != c.group[i] || t >= c.shape[j].size() || !included(c.mask, j, t) || !has_reward(c, j))
                continue;
            if (j == i) self = value.size();
            value.push_back(value_of(j, t));
        }
        return rescaled(o, value, self);
    });
}

const rank_rescale leakgan{.subtract_mean = false};
}  // namespace

TEST_CASE("rank_rescale keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) {
        return rank_rescale{.delta = d.uniform(0.1, 30), .subtract_mean = d.chance(0.5), .to_go = d.chance(0.5)};
    };
    check_advantage("rank_rescale", options, expected);
}

TEST_CASE("rank_rescale by hand: sigmoid(16 (rank / 4 - 1/2)) (Guo et al. 2017)") {
    const auto s = [](double x) { return 1 / (1 + std::exp(-x)); };
    const advantage_case c = one_token_rows({0.9, 0.1, 0.5, 0.2});
    REQUIRE(gap(run_rows(leakgan, c), {s(8), s(-4), s(4), s(0)}) < 1e-15);
    const double mean = (s(8) + s(-4) + s(4) + s(0)) / 4;
    REQUIRE(gap(run_rows(rank_rescale{}, c), {s(8) - mean, s(-4) - mean, s(4) - mean, s(0) - mean}) < 1e-15);
    REQUIRE(gap(run_rows(rank_rescale{.delta = 1, .subtract_mean = false}, c), {s(0.5), s(-0.25), s(0.25), s(0)}) <
            1e-15);
}

TEST_CASE("rank_rescale sorts: the order of arrival of the scores does not matter, as it does in Texygen's code") {
    const std::vector<double> score = {0.3, 0.8, 0.1, 0.6, 0.4};
    const std::vector<double> plain = run_rows(leakgan, one_token_rows(score));
    dice d(9);
    for (int i = 0; i < 20; ++i) {
        const std::vector<std::size_t> order = d.permutation(5);
        REQUIRE(gap(run_rows(leakgan, one_token_rows(permuted(score, order))), permuted(plain, order)) == 0);
    }
    REQUIRE(plain[1] > plain[3]);
    REQUIRE(plain[2] < plain[0]);
}

TEST_CASE("rank_rescale does not see scale, offset or shape of the scores") {
    const std::vector<double> score = {0.3, 0.8, -0.1, 0.6, 0.4};
    const std::vector<double> plain = run_rows(rank_rescale{}, one_token_rows(score));
    for (const double scale : {1e-9, 1e-3, 1e6, 1e300}) {
        std::vector<double> other = score;
        for (double& v : other) v *= scale;
        REQUIRE(gap(run_rows(rank_rescale{}, one_token_rows(other)), plain) == 0);
    }
    std::vector<double> bent = score;
    for (double& v : bent) v = std::exp(20 * v) - 1000;
    REQUIRE(gap(run_rows(rank_rescale{}, one_token_rows(bent)), plain) == 0);
}

TEST_CASE("rank_rescale: ties share their mean rank, also ties but for the rounding of a sum") {
    const auto s = [](double x) { return 1 / (1 + std::exp(-16 * x)); };
    const advantage_case c = one_token_rows({2, 5, 2, 2, 1});
    REQUIRE(gap(run_rows(leakgan, c), {s(0.1), s(0.5), s(0.1), s(0.1), s(-0.3)}) < 1e-15);
    advantage_case sums = one_token_rows({0.1, 0.3, 0, 0.3});
    sums.outcome.push_back({0.2, 0, 0, 0});
    const std::vector<double> a = run_rows(leakgan, sums);
    REQUIRE(a[0] == a[1]);
    REQUIRE(a[0] == a[3]);
    REQUIRE(gap(a[0], s(0.25)) < 1e-15);
}

TEST_CASE("rank_rescale ranks every position on its own where token rewards are given") {
    const auto s = [](double x) { return 1 / (1 + std::exp(-16 * x)); };
    const advantage_case c{
        .shape = {{0, 0, 0}, {0}, {0, 0}}, .token = {{0.1, 0.9, 0.5}, {0.3}, {0.2, 0.7}}, .group = {0, 0, 0}};
    REQUIRE(gap(run(leakgan, c).advantage,
                table{{s(1.0 / 3 - 0.5), s(0.5), s(0.5)}, {s(0.5)}, {s(2.0 / 3 - 0.5), s(0)}}) < 1e-15);
    const advantage_result centred = run(rank_rescale{}, c);
    REQUIRE(centred.advantage[0][2] == 0);  // alone at its position
    REQUIRE(gap(centred.stats.constant_groups, 1.0 / 3) < 1e-15);
}

TEST_CASE("rank_rescale adds a row's outcomes to all of its tokens") {
    advantage_case c{.shape = {{0, 0}, {0, 0}}, .token = {{0.1, 0.9}, {0.3, 0.2}}, .group = {0, 0}};
    const table plain = run(rank_rescale{}, c).advantage;
    REQUIRE(plain[0][0] < 0);
    REQUIRE(plain[0][1] > 0);
    c.outcome = {{1, 0}};
    const table with = run(rank_rescale{}, c).advantage;
    REQUIRE(with[0][0] > 0);
    REQUIRE(with[0][1] > 0);
    REQUIRE(with[1][0] < 0);
}

TEST_CASE("rank_rescale to go ranks what a token still earns: increments give the ranks of the values") {
    // Monte-Carlo values, and the increments whose sums to go they are.
    const table value = {{0.2, 0.6, 0.9}, {0.5, 0.4, 0.1}, {0.3, 0.7, 0.2}};
    const table increment =
        table_like(value, [&](auto b, auto t) { return value[b][t] - (t + 1 < 3 ? value[b][t + 1] : 0); });
    advantage_case c{.shape = value, .token = value, .group = {0, 0, 0}};
    const table direct = run(rank_rescale{}, c).advantage;
    c.token = increment;
    REQUIRE(gap(run(rank_rescale{.to_go = true}, c).advantage, direct) < 1e-15);
    REQUIRE(gap(run(rank_rescale{}, c).advantage, direct) > 0.1);
    c.bootstrap = {0, 5, 0};  // the second row was truncated in a good state
    const table truncated = run(rank_rescale{.to_go = true}, c).advantage;
    for (int t = 0; t < 3; ++t) REQUIRE(truncated[1][static_cast<std::size_t>(t)] > 0.3);
}

TEST_CASE("rank_rescale without the mean pushes every row up, equal ones alike (LeakGAN)") {
    for (const double v : run_rows(leakgan, one_token_rows({0.3, 0.8, 0.1}))) REQUIRE((v > 0 && v < 1));
    const advantage_result r = run(leakgan, one_token_rows({3, 3, 3, 3}));
    REQUIRE(gap(r.advantage, table(4, {1 / (1 + std::exp(-2.0))})) < 1e-15);  // all at rank 5/2
    REQUIRE(r.stats.constant_groups == 1);
}

TEST_CASE("rank_rescale: constant groups (trap 5), of one (trap 7), shuffled (trap 27), NaN rewards (trap 28)") {
    check_constant_groups(rank_rescale{});
    check_groups_of_one(rank_rescale{});
    check_shuffled_groups(rank_rescale{});
    check_missing_rewards(rank_rescale{});
    check_missing_rewards(leakgan);
}

TEST_CASE("rank_rescale refuses a delta out of range by name") {
    for (const double x : {0.0, -1.0, infinity, not_a_number})
        REQUIRE(refuses(rank_rescale{.delta = x}, "rank_rescale", "delta"));
    REQUIRE_THROWS_AS(run(rank_rescale{.delta = 0}, one_token_rows({1, 2})), rlgaf::option_error);
}
