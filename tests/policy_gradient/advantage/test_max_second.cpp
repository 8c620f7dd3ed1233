#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/max_second.hpp"

using namespace rlgaf_test;
using rlgaf::max_second;

namespace {
/// Straight from the definition: the gap to the best of the others, where there is one.
double expected(const max_second& o, const std::vector<double>& reward, std::size_t self) {
    const double n = static_cast<double>(reward.size());
    double others = -infinity, mean = 0, squares = 0;
    for (std::size_t j = 0; j < reward.size(); ++j) {
        if (j != self) others = std::fmax(others, reward[j]);
        mean += reward[j] / n;
    }
    for (const double r : reward) squares += (r - mean) * (r - mean);
    if (n < 2 || reward[self] <= others) return 0;
    return (reward[self] - others) / (o.scale ? std::sqrt(squares / (n - 1)) + o.epsilon : 1);
}
}  // namespace

TEST_CASE("max_second keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) { return max_second{.scale = d.chance(0.5), .epsilon = d.uniform(0, 0.1)}; };
    check_advantage("max_second", options, [](const max_second& o, const advantage_case& c) {
        return row_by_row(c, [&](const auto& reward, std::size_t self) { return expected(o, reward, self); });
    });
}

TEST_CASE("max_second on four rewards: the formula sheet's golden vectors") {
    const advantage_case c = one_token_rows({1, 0, 0.5, 0.25});
    REQUIRE(gap(run_rows(max_second{}, c), {0.5, 0, 0, 0}) < 1e-15);
    REQUIRE(gap(run_rows(max_second{.scale = true, .epsilon = 1e-6}, c), {1.171077, 0, 0, 0}) < 1e-6);
}

TEST_CASE("max_second: a tie for the best teaches nothing") {
    for (const bool scale : {false, true}) {
        const advantage_result r = run(max_second{.scale = scale}, one_token_rows({0, 2, 1, 2}));
        REQUIRE(gap(r.advantage, table(4, {0.0})) == 0);
        REQUIRE(r.stats.constant_groups == 1);
        // a tie but for the rounding of a sum
        advantage_case sums = one_token_rows({0.1, 0.3, 0});
        sums.outcome.push_back({0.2, 0, 0});
        REQUIRE(gap(run(max_second{.scale = scale}, sums).advantage, table(3, {0.0})) == 0);
    }
}

TEST_CASE("max_second never divides by a spread of rounding size") {
    REQUIRE(gap(run_rows(max_second{.scale = true}, one_token_rows({17.3, 17.3 + 1e-9, 17.3})), {0, 0, 0}) == 0);
}

TEST_CASE("max_second sees a small spread on a large offset (trap 6)") {
    REQUIRE(gap(run_rows(max_second{.scale = true}, one_token_rows({1000.01, 1000.03, 1000.02})), {0, 1, 0}) < 1e-9);
}

TEST_CASE("max_second: constant groups (trap 5), of one (trap 7), shuffled (trap 27), NaN rewards (trap 28)") {
    for (const bool scale : {false, true}) {
        check_constant_groups(max_second{.scale = scale});
        check_groups_of_one(max_second{.scale = scale});
        check_shuffled_groups(max_second{.scale = scale});
        check_missing_rewards(max_second{.scale = scale});
    }
}

TEST_CASE("max_second refuses an epsilon out of range by name") {
    for (const double x : {-1e-9, -infinity, not_a_number})
        REQUIRE(refuses(max_second{.epsilon = x}, "max_second", "epsilon"));
    REQUIRE_THROWS_AS(run(max_second{.epsilon = -1}, one_token_rows({1, 2})), rlgaf::option_error);
}
