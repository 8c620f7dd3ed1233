#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/maligan.hpp"

using namespace rlgaf_test;
using rlgaf::maligan;

namespace {
/// Straight from the definition, in a type whose exp does not overflow here.
double expected(const maligan& o, const std::vector<double>& logit, std::size_t self) {
    long double odds = 0;
    for (const double s : logit) odds += std::exp(static_cast<long double>(s));
    return static_cast<double>(std::exp(static_cast<long double>(logit[self])) / odds) -
           o.baseline / static_cast<double>(logit.size());
}
}  // namespace

TEST_CASE("maligan keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) { return maligan{.baseline = d.chance(0.5) ? 1 : d.uniform(0, 1)}; };
    check_advantage("maligan", options, [](const maligan& o, const advantage_case& c) {
        return row_by_row(c, [&](const auto& logit, std::size_t self) { return expected(o, logit, self); });
    });
}

TEST_CASE("maligan weighs by D / (1 - D), not by D as Texygen's does") {
    const std::vector<double> d = {0.5, 0.8, 0.2, 0.9};
    std::vector<double> logit;
    for (const double v : d) logit.push_back(std::log(v / (1 - v)));
    // odds 1, 4, 1/4, 9: sum 14.25
    REQUIRE(gap(run_rows(maligan{.baseline = 0}, one_token_rows(logit)),
                {1 / 14.25, 4 / 14.25, 0.25 / 14.25, 9 / 14.25}) < 1e-12);
    REQUIRE(gap(run_rows(maligan{}, one_token_rows(logit)),
                {1 / 14.25 - 0.25, 4 / 14.25 - 0.25, 0.25 / 14.25 - 0.25, 9 / 14.25 - 0.25}) < 1e-12);
}

TEST_CASE("maligan does not overflow at logits of 1000, nor of 1e308 (trap 26)") {
    REQUIRE(gap(run_rows(maligan{}, one_token_rows({1000, -1000, 1000, 999})),
                {1 / (2 + std::exp(-1.0)) - 0.25, -0.25, 1 / (2 + std::exp(-1.0)) - 0.25,
                 std::exp(-1.0) / (2 + std::exp(-1.0)) - 0.25}) < 1e-12);
    REQUIRE(gap(run_rows(maligan{}, one_token_rows({-1000, -1001})), run_rows(maligan{}, one_token_rows({1, 0}))) <
            1e-12);
    REQUIRE(gap(run_rows(maligan{}, one_token_rows({1e308, -1e308})), {0.5, -0.5}) < 1e-15);
}

TEST_CASE("maligan sums to 1 - baseline over a group") {
    dice d(3);
    for (const double baseline : {0.0, 0.3, 1.0}) {
        std::vector<double> logit;
        for (int i = 0; i < 9; ++i) logit.push_back(5 * d.normal());
        double sum = 0;
        for (const double v : run_rows(maligan{.baseline = baseline}, one_token_rows(logit))) sum += v;
        REQUIRE(gap(sum, 1 - baseline) < 1e-12);
    }
}

TEST_CASE("maligan with the optimal discriminator points from the policy to the experts") {
    // Rows in the policy's own proportions, logits log(expert / policy): the sum of A grad log pi is that of the
    // experts' log-likelihood, which for a softmax policy is expert - policy.
    const double policy[] = {0.5, 0.25, 0.25}, expert[] = {0.1, 0.6, 0.3};
    const std::size_t action[] = {0, 2, 0, 1, 0, 1, 2, 0};
    std::vector<double> logit;
    for (const std::size_t a : action) logit.push_back(std::log(expert[a] / policy[a]));
    for (const double baseline : {0.0, 1.0}) {
        const std::vector<double> a = run_rows(maligan{.baseline = baseline}, one_token_rows(logit));
        for (std::size_t j = 0; j < 3; ++j) {
            double gradient = 0;
            for (std::size_t i = 0; i < 8; ++i) gradient += a[i] * ((action[i] == j) - policy[j]);
            REQUIRE(gap(gradient, expert[j] - policy[j]) < 1e-12);
        }
    }
}

TEST_CASE("maligan compares the rows of a group, or of the whole step where that is one group") {
    advantage_case c = one_token_rows({0, 0, 3, 3});
    REQUIRE(run_rows(maligan{}, c)[2] > 0.2);
    c.group = {0, 0, 1, 1};
    c.groups = 2;
    REQUIRE(gap(run_rows(maligan{}, c), {0, 0, 0, 0}) == 0);
}

TEST_CASE("maligan: constant groups (trap 5), of one (trap 7), shuffled (trap 27), NaN rewards (trap 28)") {
    check_constant_groups(maligan{});
    check_groups_of_one(maligan{});
    for (const double baseline : {0.5, 1.0}) {
        check_shuffled_groups(maligan{.baseline = baseline});
        check_missing_rewards(maligan{.baseline = baseline});
    }
}

TEST_CASE("maligan refuses a baseline out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) REQUIRE(refuses(maligan{.baseline = x}, "maligan", "baseline"));
    REQUIRE_THROWS_AS(run(maligan{.baseline = 2}, one_token_rows({1, 2})), rlgaf::option_error);
}
