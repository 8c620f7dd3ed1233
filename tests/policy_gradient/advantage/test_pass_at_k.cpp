#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/advantage/pass_at_k.hpp"

using namespace rlgaf_test;
using rlgaf::pass_at_k;

namespace {

/// Straight from the idea: every set of k is one sample with the reward of its best row; these are normalised, and a
/// row gets the mean over the sets that it is in.
double over_subsets(const pass_at_k& o, const std::vector<double>& reward, std::size_t self) {
    const std::size_t n = reward.size(), k = o.k < n ? o.k : n;
    std::vector<double> passes;
    std::vector<bool> with_self;
    for_each_subset(n, k, [&](const std::vector<std::size_t>& members) {
        bool passed = false, inside = false;
        for (const std::size_t j : members) {
            passed = passed || reward[j] > o.threshold;
            inside = inside || j == self;
        }
        passes.push_back(passed);
        with_self.push_back(inside);
    });
    const double sets = static_cast<double>(passes.size());
    double mean = 0, squares = 0, sum = 0, count = 0;
    for (const double p : passes) mean += p / sets;
    for (const double p : passes) squares += (p - mean) * (p - mean) / sets;
    if (squares < 1e-12) return 0;
    for (std::size_t s = 0; s < passes.size(); ++s)
        if (with_self[s]) sum += (passes[s] - mean) / std::sqrt(squares), count += 1;
    return sum / count;
}

std::vector<double> successes(std::size_t n, std::size_t passed) {
    std::vector<double> reward(n, 0.0);
    for (std::size_t i = 0; i < passed; ++i) reward[i] = 1;
    return reward;
}
}  // namespace

TEST_CASE("pass_at_k keeps the promises of an advantage estimator, and is the mean over all sets of k") {
    const auto options = [](dice& d) {
        return pass_at_k{.group_size = 0, .k = 1 + d.below(5), .threshold = d.chance(0.2) ? 1000 : d.normal()};
    };
    check_advantage("pass_at_k", options, [](const pass_at_k& o, const advantage_case& c) {
        return row_by_row(c, [&](const auto& reward, std::size_t self) { return over_subsets(o, reward, self); });
    });
}

TEST_CASE("pass_at_k with one success in four, k = 2: the formula sheet's golden vector") {
    REQUIRE(gap(run_rows(pass_at_k{.k = 2}, one_token_rows({0, 0, 1, 0})), {-0.333333, -0.333333, 1, -0.333333}) <
            1e-6);
}

TEST_CASE("pass_at_k is the paper's closed form with binomials") {
    const auto choose = [](std::size_t n, std::size_t k) {
        double c = k > n ? 0 : 1;
        for (std::size_t j = 0; k <= n && j < k; ++j) c = c * static_cast<double>(n - j) / static_cast<double>(j + 1);
        return c;
    };
    for (std::size_t n = 2; n <= 16; ++n)
        for (std::size_t k = 1; k <= n; ++k)
            for (std::size_t passed = 1; passed < n; ++passed) {
                const std::size_t failed = n - passed;
                const double mean = 1 - choose(failed, k) / choose(n, k), s = std::sqrt(mean * (1 - mean));
                const std::vector<double> a =
                    run_rows(pass_at_k{.group_size = 0, .k = k}, one_token_rows(successes(n, passed)));
                const double by = choose(failed - 1, k - 1) / choose(n - 1, k - 1);
                REQUIRE(gap(a[0], failed < k ? 0 : (1 - mean) / s) < 1e-9);
                REQUIRE(gap(a[n - 1], failed < k ? 0 : (1 - mean - by) / s) < 1e-9);
            }
}

TEST_CASE("pass_at_k with k = 1 is grpo with the biased deviation, and any k sums to 0 over the group") {
    for (std::size_t passed = 1; passed < 8; ++passed) {
        const advantage_case c = one_token_rows(successes(8, passed));
        std::vector<double> biased = run_rows(rlgaf::grpo{}, c);
        for (double& v : biased) v *= std::sqrt(8.0 / 7);
        REQUIRE(gap(run_rows(pass_at_k{.k = 1}, c), biased) < 1e-12);
        for (std::size_t k = 1; k <= 8; ++k) {
            double sum = 0;
            for (const double v : run_rows(pass_at_k{.k = k}, c)) sum += v;
            REQUIRE(std::abs(sum) < 1e-12);
        }
    }
}

TEST_CASE("pass_at_k: a reward above the threshold is a success, the threshold itself is not") {
    const advantage_case c = one_token_rows({0.5, 0.500001, -3, 0.2});
    REQUIRE(gap(run_rows(pass_at_k{.k = 2, .threshold = 0.5}, c), {-1.0 / 3, 1, -1.0 / 3, -1.0 / 3}) < 1e-12);
    REQUIRE(gap(run_rows(pass_at_k{.k = 2, .threshold = 100}, c), {0, 0, 0, 0}) == 0);
}

TEST_CASE("pass_at_k: groups that always or never pass teach nothing and count as constant") {
    advantage_case c = one_token_rows({1, 1, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0});
    c.group = {0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3};  // one failure, k = 2; none; all; three failures
    c.groups = 4;
    const advantage_result r = run(pass_at_k{.k = 2}, c);
    for (std::size_t i = 0; i < 8; ++i) REQUIRE(r.advantage[i][0] == 0);
    REQUIRE(gap(r.advantage[8][0], 1) < 1e-12);
    REQUIRE(r.stats.constant_groups == 0.75);
}

TEST_CASE("pass_at_k is finite in groups of thousands, where binomials overflow") {
    for (const std::size_t k : {2u, 500u, 1000u, 1999u}) {
        const std::vector<double> a =
            run_rows(pass_at_k{.group_size = 0, .k = k}, one_token_rows(successes(4000, 2000)));
        for (const double v : a) REQUIRE(std::abs(v) < infinity);
    }
    // one success in n: every set of k has it with probability k / n
    const std::vector<double> a = run_rows(pass_at_k{.group_size = 0, .k = 1000}, one_token_rows(successes(4000, 1)));
    REQUIRE(gap(a[0], std::sqrt(3.0)) < 1e-9);
    REQUIRE(gap(a[1], -std::sqrt(3.0) / 3999) < 1e-12);
}

TEST_CASE("pass_at_k: constant groups (trap 5), of one (trap 7), shuffled (trap 27), NaN rewards (trap 28)") {
    const pass_at_k o{.k = 1, .threshold = 0.4};
    check_constant_groups(o);
    check_groups_of_one(o);
    check_shuffled_groups(o);
    check_missing_rewards(o);
}

TEST_CASE("pass_at_k refuses options out of range by name") {
    REQUIRE(refuses(pass_at_k{.k = 0}, "pass_at_k", "k"));
    REQUIRE(refuses(pass_at_k{.k = 9}, "pass_at_k", "k"));
    REQUIRE_NOTHROW(pass_at_k{.group_size = 0, .k = 9}.check());
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(pass_at_k{.threshold = x}, "pass_at_k", "threshold"));
    REQUIRE_THROWS_AS(run(pass_at_k{.k = 0}, one_token_rows({1, 2})), rlgaf::option_error);
}
