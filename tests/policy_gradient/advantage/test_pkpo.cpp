#include "policy_gradient/advantage/group_reference.hpp"
#include "rlgaf/policy_gradient/advantage/max_second.hpp"
#include "rlgaf/policy_gradient/advantage/pkpo.hpp"

using namespace rlgaf_test;
using rlgaf::max_second;
using rlgaf::pkpo;
using rlgaf::pkpo_form;

namespace {

constexpr pkpo_form forms[] = {pkpo_form::score, pkpo_form::leave_one_out};

pkpo estimator(std::size_t k, pkpo_form form) { return {.group_size = 0, .k = k, .form = form}; }

double best(const std::vector<double>& reward, const std::vector<std::size_t>& members, std::size_t without) {
    double largest = -infinity;
    for (const std::size_t j : members)
        if (j != without) largest = std::fmax(largest, reward[j]);
    return largest;
}

/// Straight from the definition: all subsets.
double over_subsets(const pkpo& o, const std::vector<double>& reward, std::size_t self) {
    const std::size_t n = reward.size(), k = o.k < n ? o.k : n;
    if (o.form == pkpo_form::leave_one_out && n == 1) return 0;
    double sum = 0, count = 0;
    for_each_subset(n, k, [&](const std::vector<std::size_t>& members) {
        count += 1;
        bool inside = false;
        for (const std::size_t j : members) inside = inside || j == self;
        if (!inside) return;
        sum += best(reward, members, n);
        if (o.form == pkpo_form::leave_one_out) sum -= best(reward, members, self);
    });
    return sum / count;
}

std::vector<double> advantages(const pkpo& o, const std::vector<double>& reward) {
    return run_rows(o, one_token_rows(reward));
}

/// C(n, k) for small n.
double choose(std::size_t n, std::size_t k) {
    if (k > n) return 0;
    double c = 1;
    for (std::size_t j = 0; j < k; ++j) c = c * static_cast<double>(n - j) / static_cast<double>(j + 1);
    return c;
}
}  // namespace

TEST_CASE("pkpo keeps the promises of an advantage estimator, and is the sum over all subsets") {
    const auto options = [](dice& d) {
        const pkpo_form form = forms[d.below(2)];
        return estimator((form == pkpo_form::score ? 1 : 2) + d.below(6), form);
    };
    check_advantage("pkpo", options, [](const pkpo& o, const advantage_case& c) {
        return row_by_row(c, [&](const auto& reward, std::size_t self) { return over_subsets(o, reward, self); });
    });
}

TEST_CASE("pkpo with k = 2 on four rewards: the formula sheet's golden vectors") {
    const std::vector<double> reward = {1, 0, 0.5, 0.25};
    REQUIRE(gap(advantages(estimator(2, pkpo_form::score), reward), {0.5, 0.291667, 0.333333, 0.291667}) < 1e-6);
    REQUIRE(gap(advantages(estimator(2, pkpo_form::leave_one_out), reward), {0.375, 0, 0.125, 0.041667}) < 1e-6);
}

TEST_CASE("pkpo of 0/1 rewards: k / n for a success, k / n rho(n - 1, c, k - 1) for a failure") {
    for (std::size_t n = 1; n <= 12; ++n)
        for (std::size_t k = 1; k <= n; ++k)
            for (std::size_t c = 0; c <= n; ++c) {
                std::vector<double> reward(n, 0.0);
                for (std::size_t i = 0; i < c; ++i) reward[(i * 5) % n] = 1;  // some order; fewer than c where 5 | n
                double successes = 0;
                for (const double r : reward) successes += r;
                const auto found = static_cast<std::size_t>(successes);
                const std::vector<double> a = advantages(estimator(k, pkpo_form::score), reward);
                const double share = static_cast<double>(k) / static_cast<double>(n);
                const double rho =
                    n == 1 ? 0 : 1 - choose(n - 1 - (found < n ? found : n - 1), k - 1) / choose(n - 1, k - 1);
                for (std::size_t i = 0; i < n; ++i) REQUIRE(gap(a[i], reward[i] == 1 ? share : share * rho) < 1e-12);
            }
}

TEST_CASE("pkpo with k = 1 is the mean reward's score function: R / n") {
    REQUIRE(gap(advantages(estimator(1, pkpo_form::score), {3, -1, 0.5, 3}), {0.75, -0.25, 0.125, 0.75}) < 1e-15);
}

TEST_CASE("pkpo's expectation is the derivative of E[max of k], both forms, over all groups of a categorical policy") {
    double logit[] = {0.3, -0.7, 1.1};
    const double reward[] = {2, -1, 0.5};
    const auto probability = [&](std::size_t action) {
        double total = 0;
        for (const double z : logit) total += std::exp(z);
        return std::exp(logit[action]) / total;
    };
    const auto over_groups = [&](std::size_t size, auto&& f) {
        std::size_t groups = 1;
        for (std::size_t i = 0; i < size; ++i) groups *= 3;
        for (std::size_t code = 0; code < groups; ++code) {
            std::vector<std::size_t> action;
            double p = 1;
            for (std::size_t i = 0, rest = code; i < size; ++i, rest /= 3) {
                action.push_back(rest % 3);
                p *= probability(rest % 3);
            }
            f(action, p);
        }
    };
    for (const pkpo_form form : forms)
        for (std::size_t n = 1; n <= 5; ++n)
            for (std::size_t k = form == pkpo_form::score ? 1 : 2; k <= n; ++k) {
                double gradient[3] = {0, 0, 0};
                over_groups(n, [&](const std::vector<std::size_t>& action, double p) {
                    std::vector<double> r;
                    for (const std::size_t a : action) r.push_back(reward[a]);
                    const std::vector<double> a = advantages(estimator(k, form), r);
                    for (std::size_t i = 0; i < n; ++i)
                        for (std::size_t j = 0; j < 3; ++j)
                            gradient[j] += p * a[i] * ((action[i] == j) - probability(j));
                });
                const auto objective = [&] {
                    double value = 0;
                    over_groups(k, [&](const std::vector<std::size_t>& action, double p) {
                        double largest = -infinity;
                        for (const std::size_t a : action) largest = std::fmax(largest, reward[a]);
                        value += p * largest;
                    });
                    return value;
                };
                for (int j = 0; j < 3; ++j) REQUIRE(gap(gradient[j], slope(objective, logit[j])) < 1e-9);
            }
}

TEST_CASE("pkpo with k = n, leave one out, is max_second (verl's grpo_passk)") {
    dice d(5);
    for (std::size_t n = 2; n < 20; ++n) {
        std::vector<double> reward;
        for (std::size_t i = 0; i < n; ++i) reward.push_back(d.normal());
        REQUIRE(gap(advantages(estimator(n, pkpo_form::leave_one_out), reward),
                    run_rows(max_second{}, one_token_rows(reward))) < 1e-15);
    }
}

TEST_CASE("pkpo does not overflow where C(n, k) does: sums over groups of thousands") {
    // Rewards 1 .. n: the best of k is k (n + 1) / (k + 1) on average, and (n + 1) / (k + 1) ahead of the second.
    for (const std::size_t n : {67u, 1000u, 5000u}) {
        std::vector<double> reward(n);
        for (std::size_t i = 0; i < n; ++i) reward[(i * 7919) % n] = static_cast<double>(i + 1);
        for (const std::size_t k : {std::size_t{2}, n / 2, n - 1, n}) {
            const double spacing = static_cast<double>(n + 1) / static_cast<double>(k + 1), kk = static_cast<double>(k);
            double scores = 0, gains = 0;
            for (const double v : advantages(estimator(k, pkpo_form::score), reward)) scores += v;
            for (const double v : advantages(estimator(k, pkpo_form::leave_one_out), reward)) {
                REQUIRE(v >= 0);
                gains += v;
            }
            REQUIRE(gap(scores / (kk * kk * spacing), 1) < 1e-10);
            REQUIRE(gap(gains / spacing, 1) < 1e-10);
        }
    }
}

TEST_CASE("pkpo gives equal rewards equal advantages, whatever the order of the rows") {
    for (const pkpo_form form : forms) {
        const std::vector<double> a = advantages(estimator(3, form), {0.7, 0.2, 0.7, 0.2, 0.2, 0.9});
        REQUIRE(gap(a[0], a[2]) < 1e-15);
        REQUIRE(gap(a[1], a[3]) < 1e-15);
        REQUIRE(gap(a[1], a[4]) < 1e-15);
    }
}

TEST_CASE("pkpo, leave one out, does not see an offset of the rewards") {
    // The sheet's trap 6: scores far from 0 lose no digits to cancellation.
    const std::vector<double> reward = {1, 0, 0.5, 0.25};
    std::vector<double> far = reward;
    for (double& r : far) r += 1e6;
    const pkpo o = estimator(2, pkpo_form::leave_one_out);
    REQUIRE(gap(advantages(o, far), advantages(o, reward)) < 1e-9);
}

TEST_CASE("pkpo in a group with fewer rewards than k takes all of them") {
    const std::vector<double> three = {1, 0.25, not_a_number, 0.5, not_a_number};
    REQUIRE(gap(advantages(estimator(4, pkpo_form::leave_one_out), three), {0.5, 0, 0, 0, 0}) < 1e-15);
    REQUIRE(gap(advantages(estimator(4, pkpo_form::score), three), {1, 1, 0, 1, 0}) < 1e-15);
    REQUIRE(gap(advantages(estimator(4, pkpo_form::score), {7}), {7}) < 1e-15);
}

TEST_CASE("pkpo's score has no baseline: equal rewards get k / n R and still count as a constant group") {
    const advantage_result r = run(estimator(2, pkpo_form::score), one_token_rows({3, 3, 3, 3}));
    REQUIRE(gap(r.advantage, table(4, {1.5})) < 1e-15);
    REQUIRE(r.stats.constant_groups == 1);
}

TEST_CASE("pkpo: constant groups (trap 5), groups of one (trap 7), shuffled groups (trap 27), NaN rewards (trap 28)") {
    const pkpo o = estimator(2, pkpo_form::leave_one_out);
    check_constant_groups(o);
    check_groups_of_one(o);
    for (const pkpo_form form : forms) {
        check_shuffled_groups(estimator(2, form));
        check_missing_rewards(estimator(2, form));
    }
}

TEST_CASE("pkpo refuses a k out of range by name") {
    REQUIRE(refuses(pkpo{.k = 1}, "pkpo", "k"));
    REQUIRE(refuses(pkpo{.k = 9}, "pkpo", "k"));
    REQUIRE(refuses(pkpo{.k = 0, .form = pkpo_form::score}, "pkpo", "k"));
    REQUIRE_NOTHROW(pkpo{.k = 1, .form = pkpo_form::score}.check());
    REQUIRE_NOTHROW(pkpo{.k = 8}.check());
    REQUIRE_NOTHROW(pkpo{.group_size = 0, .k = 100}.check());
    REQUIRE_THROWS_AS(run(pkpo{.k = 1}, one_token_rows({1, 2})), rlgaf::option_error);
}
