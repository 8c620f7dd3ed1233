#pragma once
/// What every advantage estimator owes: see check_advantage.
#include <string>
#include <vector>

#include "rlgaf/policy_gradient/terms.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

namespace rlgaf_test {

/// The inputs of one call. An empty table or vector is an array that is not given.
struct advantage_case {
    table shape{};    ///< only its lengths count
    table outcome{};  ///< K rewards of B rows
    table token{}, mask{};
    std::vector<double> bootstrap{};
    std::vector<std::uint32_t> group{};
    std::size_t groups = 1;
};

/// One row a group element with a single token each.
inline advantage_case one_token_rows(const std::vector<double>& reward) {
    return {.shape = table(reward.size(), {0.0}),
            .outcome = {reward},
            .group = std::vector<std::uint32_t>(reward.size(), 0)};
}

template <class T>
struct advantage_arrays {
    table outcome;
    std::vector<double> bootstrap;
    std::vector<std::uint32_t> group;
    std::size_t groups;
    std::vector<rlgaf::outcome_reward> reward{};
    ragged<T> token;
    ragged<std::uint8_t> mask;
    ragged<T> advantage;

    advantage_arrays(const advantage_case& c, layout how)
        : outcome(c.outcome),
          bootstrap(c.bootstrap),
          group(c.group),
          groups(c.groups),
          token(c.token, how, static_cast<T>(not_a_number)),
          mask(c.mask, how, 1),
          advantage(table_like(c.shape, [](auto, auto) { return 77.0; }), how, T{99}) {
        for (const auto& r : outcome) reward.push_back({"reward", r});
    }
    rlgaf::advantage_terms<T> terms() { return {{reward, token.view(), bootstrap}, {group, groups}, mask.view()}; }
};

struct advantage_result {
    table advantage;
    rlgaf::advantage_stats stats;
};

template <class T = double, class Estimator>
advantage_result run(const Estimator& estimator, const advantage_case& c, layout how,
                     rlgaf::state_of<Estimator>& state) {
    advantage_arrays<T> arrays(c, how);
    rlgaf::workspace work;
    work.a = work.b = work.c = work.d = work.e = {1e12, 1e12, 1e12};  // what another component left there
    const auto stats = rlgaf::call(estimator, state, arrays.terms(), work, arrays.advantage.view());
    REQUIRE(arrays.advantage.guards_intact());
    return {arrays.advantage.rows(), stats};
}
template <class T = double, class Estimator>
advantage_result run(const Estimator& estimator, const advantage_case& c, layout how = layout::packed) {
    rlgaf::state_of<Estimator> state;
    return run<T>(estimator, c, how, state);
}
/// The advantages of rows of one token.
template <class Estimator>
std::vector<double> run_rows(const Estimator& estimator, const advantage_case& c) {
    std::vector<double> out;
    for (const auto& row : run(estimator, c).advantage) out.push_back(row.empty() ? 0 : row[0]);
    return out;
}

/// Rows of random lengths in random groups that need not be contiguous, 0 to 3 outcomes of which some do not apply.
inline advantage_case random_advantage_case(dice& d) {
    advantage_case c;
    c.shape = random_shape(d, 9, 4);
    const std::size_t rows = c.shape.size();
    c.groups = 1 + d.below(4);
    for (std::size_t i = 0; i < rows; ++i) c.group.push_back(static_cast<std::uint32_t>(d.below(c.groups)));
    c.outcome.resize(d.below(4));
    for (auto& outcome : c.outcome) {
        const double center = d.chance(0.2) ? 1000 : 0;
        for (std::size_t i = 0; i < rows; ++i) outcome.push_back(d.chance(0.2) ? not_a_number : center + d.normal());
    }
    if (d.chance(0.4)) c.token = table_like(c.shape, [&](auto, auto) { return d.normal(); });
    c.mask = random_mask(d, c.shape);
    if (d.chance(0.4))
        for (std::size_t i = 0; i < rows; ++i) c.bootstrap.push_back(d.normal());
    return c;
}

/// Whether a row has a reward: not if there are outcomes and none applies to it.
inline bool has_reward(const advantage_case& c, std::size_t row) {
    bool applies = c.outcome.empty();
    for (const auto& outcome : c.outcome) applies = applies || !std::isnan(outcome[row]);
    return applies;
}
/// Sum of the unmasked token rewards of a row; NaN if it has no reward.
inline double token_sum(const advantage_case& c, std::size_t row) {
    if (!has_reward(c, row)) return not_a_number;
    double sum = 0;
    for (std::size_t t = 0; t < c.token[row].size(); ++t)
        if (included(c.mask, row, t)) sum += c.token[row][t];
    return sum;
}
/// The rewards of whole rows: the outcomes, and the token rewards summed.
inline table row_rewards(const advantage_case& c) {
    table rewards = c.outcome;
    if (!c.token.empty()) {
        rewards.emplace_back();
        for (std::size_t i = 0; i < c.shape.size(); ++i) rewards.back().push_back(token_sum(c, i));
    }
    return rewards;
}
/// The spread up to which the rewards of row i's group count as equal: a millionth of the largest mean of a reward that
/// varies in the group by more than a millionth of its own mean; no spread is enough where none does.
inline double equal_rewards(const advantage_case& c, std::size_t i) {
    double size = infinity;
    for (const auto& reward : row_rewards(c)) {
        double sum = 0, count = 0, squares = 0;
        const auto for_each_peer = [&](auto&& f) {
            for (std::size_t j = 0; j < reward.size(); ++j)
                if (c.group[j] == c.group[i] && !std::isnan(reward[j])) f(reward[j]);
        };
        for_each_peer([&](double r) { sum += r, count += 1; });
        const double mean = sum / count, scale = std::fmax(1, std::abs(mean));
        for_each_peer([&](double r) { squares += (r - mean) * (r - mean); });
        if (count < 2 || std::sqrt(squares / (count - 1)) <= 1e-6 * scale) continue;
        size = size < infinity ? std::fmax(size, scale) : scale;
    }
    return 1e-6 * size;
}
/// value[row] on unmasked tokens, 0 elsewhere.
inline table on_tokens(const advantage_case& c, const std::vector<double>& value) {
    return table_like(c.shape, [&](auto b, auto t) { return included(c.mask, b, t) ? value[b] : 0.0; });
}

template <class Estimator>
void check_advantage_storage(const Estimator& estimator, const advantage_case& c, dice& d) {
    const table plain = run(estimator, c).advantage;
    REQUIRE(same_bits(run(estimator, c, layout::padded).advantage, plain));

    advantage_case rounded = c;
    rounded.token = as_float(c.token);
    const table wide = run(estimator, rounded).advantage;
    for (const layout how : layouts) REQUIRE(same_bits(run<float>(estimator, rounded, how).advantage, as_float(wide)));

    advantage_case spoiled = c;
    if (!c.mask.empty())
        spoiled.token =
            table_like(c.token, [&](auto b, auto t) { return included(c.mask, b, t) ? c.token[b][t] : not_a_number; });
    REQUIRE(same_bits(run(estimator, spoiled).advantage, plain));

    const std::vector<std::size_t> order = d.permutation(c.shape.size());
    const std::vector<std::size_t> names = d.permutation(c.groups + 2);  // other ids, two of them without rows
    advantage_case shuffled = c;
    for (table* x : {&shuffled.shape, &shuffled.token, &shuffled.mask}) *x = permuted(*x, order);
    for (auto& outcome : shuffled.outcome) outcome = permuted(outcome, order);
    shuffled.bootstrap = permuted(c.bootstrap, order);
    shuffled.group = permuted(c.group, order);
    shuffled.groups = c.groups + 2;
    for (auto& id : shuffled.group) id = static_cast<std::uint32_t>(names[id]);
    REQUIRE(gap(run(estimator, shuffled).advantage, permuted(plain, order)) < 1e-9);
}

template <class Estimator>
void check_advantage_shape_errors(const Estimator& estimator, const std::string& name) {
    const advantage_case good{.shape = {{0, 0}, {}, {0}},
                              .outcome = {{1, 2, 3}},
                              .token = {{1, 1}, {}, {1}},
                              .mask = {{1, 1}, {}, {1}},
                              .group = {0, 0, 0}};
    const auto message = [&](const advantage_case& c) {
        return message_of<rlgaf::shape_error>([&] { run(estimator, c, layout::padded); });
    };
    const std::string start = "rlgaf::" + name + ": ";
    REQUIRE(message(good) == "nothing thrown");
    advantage_case bad = good;
    bad.outcome.push_back({1, 2});
    REQUIRE(message(bad) == start + "terms.reward.outcome: expected 3 elements, got 2");
    bad = good;
    bad.token = {{1, 1}};
    REQUIRE(message(bad) == start + "terms.reward.token: expected 3 elements, got 1");
    bad.token = {{1, 1}, {}, {1, 1}};
    REQUIRE(message(bad) == start + "terms.reward.token row 2: expected 1 tokens, got 2");
    bad = good;
    bad.mask = {{1}, {}, {1}};
    REQUIRE(message(bad) == start + "terms.mask row 0: expected 2 tokens, got 1");
    bad = good;
    bad.group = {0, 0};
    REQUIRE(message(bad) == start + "groups.id: expected 3 elements, got 2");
    bad.group = {0, 1, 0};
    REQUIRE(message(bad) == start + "groups.id[1]: expected below 1, got 1");
}

template <class Estimator>
void check_advantage_allocations(const Estimator& estimator, dice& d) {
    const advantage_case c = random_advantage_case(d);
    advantage_arrays<float> arrays(c, layout::padded);
    rlgaf::workspace work;
    rlgaf::state_of<Estimator> state;
    const auto terms = arrays.terms();
    const auto view = arrays.advantage.view();
    rlgaf::call(estimator, state, terms, work, view);
    REQUIRE(allocations_of([&] { rlgaf::call(estimator, state, terms, work, view); }) == 0);
}

/// Random cases against expected(estimator, case), an independent way to the same advantages; then layouts, float,
/// masked NaN, order of rows, names of groups, statistics, shape errors and allocations.
template <class Make, class Expected>
void check_advantage(const std::string& name, Make&& make, Expected&& expected, std::size_t cases = 3000) {
    dice d(2402 + name.size());
    for (std::size_t i = 0; i < cases; ++i) {
        CAPTURE(i);
        const auto estimator = make(d);
        const advantage_case c = random_advantage_case(d);
        const advantage_result result = run(estimator, c);
        REQUIRE(gap(result.advantage, expected(estimator, c)) < 1e-9);

        double n = 0, sum = 0, squares = 0;
        for (std::size_t b = 0; b < c.shape.size(); ++b)
            for (std::size_t t = 0; t < c.shape[b].size(); ++t)
                if (included(c.mask, b, t)) n += 1, sum += result.advantage[b][t];
        for (std::size_t b = 0; b < c.shape.size(); ++b)
            for (std::size_t t = 0; t < c.shape[b].size(); ++t)
                if (included(c.mask, b, t)) squares += std::pow(result.advantage[b][t] - sum / n, 2);
        REQUIRE(gap(result.stats.mean, n > 0 ? sum / n : 0) < 1e-9);
        REQUIRE(gap(result.stats.deviation, n > 1 ? std::sqrt(squares / (n - 1)) : 0) < 1e-9);

        if (i % 10 == 0) check_advantage_storage(estimator, c, d);
    }
    for (int i = 0; i < 20; ++i) check_advantage_allocations(make(d), d);
    check_advantage_shape_errors(make(d), name);
}

}  // namespace rlgaf_test
