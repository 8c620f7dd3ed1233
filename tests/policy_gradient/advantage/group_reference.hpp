#pragma once
/// Straight ways to what estimators over groups are made of, and the traps that all of them must avoid.
#include "support/advantage_checks.hpp"

namespace rlgaf_test {

/// Sum of the rewards that apply to each row; NaN where none does.
inline std::vector<double> total_rewards(const advantage_case& c) {
    std::vector<double> total(c.shape.size(), not_a_number);
    for (const auto& reward : row_rewards(c))
        for (std::size_t i = 0; i < total.size(); ++i)
            if (!std::isnan(reward[i])) total[i] = (std::isnan(total[i]) ? 0 : total[i]) + reward[i];
    return total;
}

/// The rows of row i's group, i included, that have a value.
inline std::vector<std::size_t> peers_of(const advantage_case& c, const std::vector<double>& value, std::size_t i) {
    std::vector<std::size_t> peers;
    for (std::size_t j = 0; j < value.size(); ++j)
        if (c.group[j] == c.group[i] && !std::isnan(value[j])) peers.push_back(j);
    return peers;
}

/// Advantages from one(rewards of the group, position of the row among them), for the rows that have a reward.
template <class F>
table row_by_row(const advantage_case& c, F&& one) {
    const std::vector<double> total = total_rewards(c);
    std::vector<double> a(total.size(), 0.0);
    for (std::size_t i = 0; i < total.size(); ++i) {
        if (std::isnan(total[i])) continue;
        std::vector<double> reward;
        std::size_t self = 0;
        for (const std::size_t j : peers_of(c, total, i)) {
            if (j == i) self = reward.size();
            reward.push_back(total[j]);
        }
        a[i] = one(reward, self);
    }
    return on_tokens(c, a);
}

/// Calls f(members) for every set of k of the numbers 0 .. n - 1; n is small.
template <class F>
void for_each_subset(std::size_t n, std::size_t k, F&& f) {
    for (std::size_t bits = 0; bits < std::size_t{1} << n; ++bits) {
        std::vector<std::size_t> members;
        for (std::size_t i = 0; i < n; ++i)
            if (bits >> i & 1) members.push_back(i);
        if (members.size() == k) f(members);
    }
}

/// A constant group gets exactly 0, not noise, beside one that varies.
template <class Estimator>
void check_constant_groups(const Estimator& estimator) {
    const struct {
        double reward;
        std::size_t size;
    } sets[] = {{17.3, 8}, {0.1, 8}, {-5.7, 3}, {1e4 + 0.1, 7}, {0, 4}};
    for (const auto& set : sets)
        for (const double r : {set.reward, static_cast<double>(static_cast<float>(set.reward))}) {
            advantage_case c = one_token_rows(std::vector<double>(set.size, r));
            c.outcome.push_back(std::vector<double>(set.size, 0.1));
            for (const double other : {-3.0, -1.0, 4.0}) {
                c.shape.push_back({0});
                c.outcome[0].push_back(other), c.outcome[1].push_back(0);
                c.group.push_back(1);
            }
            c.groups = 2;
            const advantage_result result = run(estimator, c);
            for (std::size_t i = 0; i < set.size; ++i) REQUIRE(result.advantage[i][0] == 0);
            REQUIRE(result.advantage[set.size + 2][0] > 0);
            REQUIRE(result.stats.constant_groups == 0.5);
        }
}

/// A single row in a group gets 0, never its raw reward; so does every row if no reward applies.
template <class Estimator>
void check_groups_of_one(const Estimator& estimator) {
    advantage_case c = one_token_rows({5, 1, 7, 0.5});
    c.group = {3, 1, 0, 2};
    c.groups = 5;
    for (const double v : run_rows(estimator, c)) REQUIRE(v == 0);
    REQUIRE(run(estimator, c).stats.constant_groups == 1);
    c.outcome = {std::vector<double>(4, not_a_number)};
    for (const double v : run_rows(estimator, c)) REQUIRE(v == 0);
    REQUIRE(run(estimator, c).stats.constant_groups == 0);
}

/// Groups that are shuffled into each other, and of different sizes, come out as they do one after the other.
template <class Estimator>
void check_shuffled_groups(const Estimator& estimator) {
    const std::vector<double> reward = {1, 0, 0.5, 0.25, 2, -1, 0.75, -0.5, 0.125};
    advantage_case sorted = one_token_rows(reward), mixed = sorted;
    sorted.group = {0, 0, 0, 0, 1, 1, 1, 2, 2};
    sorted.groups = mixed.groups = 3;
    const std::vector<std::size_t> order = {4, 0, 7, 1, 5, 8, 2, 3, 6};
    mixed.group = permuted(sorted.group, order);
    mixed.outcome[0] = permuted(reward, order);
    const std::vector<double> plain = run_rows(estimator, sorted);
    REQUIRE(gap(run_rows(estimator, mixed), permuted(plain, order)) < 1e-12);
    REQUIRE(gap(plain, std::vector<double>(9, 0.0)) > 0.01);
}

/// A row whose reward is NaN gets 0, and the others get what they would without it.
template <class Estimator>
void check_missing_rewards(const Estimator& estimator) {
    advantage_case c = one_token_rows({1, 0, 0.5, 0.25, 2, -1, 0.75}), with = c;
    c.group = {0, 0, 0, 0, 1, 1, 1};
    with.group = {0, 0, 2, 0, 0, 1, 1, 0, 1};
    c.groups = with.groups = 3;
    with.outcome[0] = {1, 0, not_a_number, 0.5, 0.25, 2, -1, not_a_number, 0.75};
    with.shape = table(9, {0.0});
    const std::vector<double> a = run_rows(estimator, c), b = run_rows(estimator, with);
    REQUIRE(gap(a, {b[0], b[1], b[3], b[4], b[5], b[6], b[8]}) < 1e-15);
    REQUIRE(b[2] == 0);
    REQUIRE(b[7] == 0);
    REQUIRE(gap(a, std::vector<double>(7, 0.0)) > 0.01);
}

}  // namespace rlgaf_test
