#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/gpg.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"

using namespace rlgaf_test;
using rlgaf::gpg;
using rlgaf::gpg_rescale;

namespace {

/// Straight from the definition: centre each reward on the rows of the group that it applies to, add up, rescale.
table expected(const gpg& o, const advantage_case& c) {
    const std::size_t rows = c.shape.size();
    const std::vector<double> total = total_rewards(c);
    std::vector<double> a(rows, not_a_number), deviation(rows, 0.0), out(rows, 0.0);
    for (const auto& reward : row_rewards(c))
        for (std::size_t i = 0; i < rows; ++i) {
            if (std::isnan(reward[i])) continue;
            double mean = 0, count = 0;
            for (const std::size_t j : peers_of(c, reward, i)) mean += reward[j], count += 1;
            a[i] = (std::isnan(a[i]) ? 0 : a[i]) + reward[i] - mean / count;
        }
    double with_reward = 0, counted = 0;
    for (std::size_t i = 0; i < rows; ++i) {
        if (std::isnan(a[i])) continue;
        const std::vector<std::size_t> peers = peers_of(c, a, i);
        double squares = 0;
        for (const std::size_t j : peers) squares += a[j] * a[j];
        if (peers.size() > 1) deviation[i] = std::sqrt(squares / static_cast<double>(peers.size() - 1));
        with_reward += 1;
        counted += o.rescale == gpg_rescale::none || (o.rescale == gpg_rescale::nonzero_rewards && total[i] != 0) ||
                   (o.rescale == gpg_rescale::informative_rows && deviation[i] > equal_rewards(c, i));
    }
    for (std::size_t i = 0; i < rows; ++i)
        if (deviation[i] > equal_rewards(c, i))
            out[i] = with_reward / (counted > 1 ? counted : 1) * a[i] / (o.scale ? deviation[i] + o.epsilon : 1);
    return on_tokens(c, out);
}
}  // namespace

TEST_CASE("gpg keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) {
        return gpg{.rescale = static_cast<gpg_rescale>(d.below(3)),
                   .scale = d.chance(0.5),
                   .epsilon = d.chance(0.5) ? 0 : d.uniform(0, 0.1)};
    };
    check_advantage("gpg", options, expected);
}

TEST_CASE("gpg on four rewards: the formula sheet's golden vector of verl's form") {
    const advantage_case c = one_token_rows({1, 0, 0.5, 0.25});
    REQUIRE(gap(run_rows(gpg{.rescale = gpg_rescale::nonzero_rewards}, c), {0.75, -0.583333, 0.083333, -0.25}) < 1e-6);
    REQUIRE(gap(run_rows(gpg{}, c), {0.5625, -0.4375, 0.0625, -0.1875}) < 1e-15);
    REQUIRE(gap(run_rows(gpg{.scale = true, .epsilon = 1e-6}, c), {1.317462, -1.024693, 0.146385, -0.439154}) < 1e-6);
}

TEST_CASE("gpg makes up for the groups that teach nothing, so that the step keeps its size") {
    advantage_case c = one_token_rows({1, 0, 1, 1, 0, 0, 1, 0});
    c.group = {0, 0, 1, 1, 2, 2, 3, 3};
    c.groups = 4;
    REQUIRE(gap(run_rows(gpg{}, c), {1, -1, 0, 0, 0, 0, 1, -1}) < 1e-15);  // 8 rows, 4 of them informative
    REQUIRE(gap(run_rows(gpg{.rescale = gpg_rescale::none}, c), {0.5, -0.5, 0, 0, 0, 0, 0.5, -0.5}) < 1e-15);
    REQUIRE(run(gpg{}, c).stats.constant_groups == 0.5);
}

TEST_CASE("gpg in verl's form counts rewards that are not 0, informative or not") {
    advantage_case c = one_token_rows({1, 0, 1, 1, 0, 0, 1, 0});
    c.group = {0, 0, 1, 1, 2, 2, 3, 3};
    c.groups = 4;
    const gpg verl{.rescale = gpg_rescale::nonzero_rewards};
    REQUIRE(gap(run_rows(verl, c), {1, -1, 0, 0, 0, 0, 1, -1}) < 1e-15);
    for (double& r : c.outcome[0]) r -= 5;  // scores are never 0: no correction is left
    REQUIRE(gap(run_rows(verl, c), {0.5, -0.5, 0, 0, 0, 0, 0.5, -0.5}) < 1e-15);
    REQUIRE(gap(run_rows(gpg{}, c), {1, -1, 0, 0, 0, 0, 1, -1}) < 1e-15);
}

TEST_CASE("gpg without rescaling is grpo without or with its scale") {
    const advantage_case c = one_token_rows({0.3, -2, 1.5, 0.2, 0.2});
    REQUIRE(same_bits(run(gpg{.rescale = gpg_rescale::none}, c).advantage,
                      run(rlgaf::grpo{.scale = rlgaf::reward_scale::none}, c).advantage));
    REQUIRE(gap(run(gpg{.rescale = gpg_rescale::none, .scale = true}, c).advantage, run(rlgaf::grpo{}, c).advantage) <
            1e-15);
}

TEST_CASE("gpg where nothing is informative is 0, not 0 / 0") {
    for (const gpg_rescale rescale : {gpg_rescale::informative_rows, gpg_rescale::nonzero_rewards, gpg_rescale::none}) {
        const advantage_result r = run(gpg{.rescale = rescale}, one_token_rows({0, 0, 0}));
        REQUIRE(gap(r.advantage, table(3, {0.0})) == 0);
        REQUIRE(r.stats.constant_groups == 1);
    }
}

TEST_CASE("gpg in verl's form with rewards that cancel to 0 in every row divides by 1, not by 0") {
    advantage_case c = one_token_rows({1, 0, not_a_number});
    c.outcome.push_back({-1, not_a_number, 0});
    REQUIRE(gap(run_rows(gpg{.rescale = gpg_rescale::nonzero_rewards}, c), {0, -1.5, 1.5}) < 1e-15);
}

TEST_CASE("gpg takes a spread of rounding size for none") {
    const advantage_case c = one_token_rows({17.3, 17.3 + 1e-9, 17.3});
    for (const bool scale : {false, true}) REQUIRE(gap(run_rows(gpg{.scale = scale}, c), {0, 0, 0}) == 0);
}

TEST_CASE("gpg sees a small spread on a large offset (trap 6)") {
    const advantage_case c = one_token_rows({1000.01, 1000.02, 1000.03});
    REQUIRE(gap(run_rows(gpg{.scale = true}, c), {-1, 0, 1}) < 1e-9);
}

TEST_CASE("gpg: constant groups (trap 5), of one (trap 7), shuffled (trap 27), NaN rewards (trap 28)") {
    for (const gpg_rescale rescale : {gpg_rescale::informative_rows, gpg_rescale::nonzero_rewards, gpg_rescale::none})
        for (const bool scale : {false, true}) {
            const gpg o{.rescale = rescale, .scale = scale};
            check_constant_groups(o);
            check_groups_of_one(o);
            check_shuffled_groups(o);
            check_missing_rewards(o);
        }
}

TEST_CASE("gpg refuses an epsilon out of range by name") {
    for (const double x : {-1e-9, -infinity, not_a_number}) REQUIRE(refuses(gpg{.epsilon = x}, "gpg", "epsilon"));
    REQUIRE_THROWS_AS(run(gpg{.epsilon = -1}, one_token_rows({1, 2})), rlgaf::option_error);
}
