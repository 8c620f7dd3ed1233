#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/opo.hpp"
#include "rlgaf/policy_gradient/advantage/optimal_token_baseline.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::optimal_token_baseline;

namespace {

/// Position by position, each time from the whole group.
table by_definition(const optimal_token_baseline& o, const advantage_case& c, const table& norm) {
    table g(c.shape.size()), w(c.shape.size()), a(c.shape.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
        g[i] = returns_of(c, i, 1);
        const std::vector<double> row = unmasked(c, norm, i);
        for (std::size_t k = 0; k < g[i].size(); ++k) {
            w[i].push_back(0);
            for (std::size_t s = 0; s <= k; ++s) w[i][k] += std::fmax(0.0, row[s]);
        }
    }
    for (std::size_t i = 0; i < g.size(); ++i)
        for (std::size_t k = 0; k < g[i].size(); ++k) {
            double top = 0, bottom = 0;
            std::size_t here = 0, members = 0;
            for (std::size_t j = 0; j < g.size(); ++j) {
                if (c.group[j] != c.group[i] || g[j].empty()) continue;
                members += 1;
                if (k < g[j].size()) top += w[j][k] * g[j][k], bottom += w[j][k], here += 1;
            }
            if (here > 1)
                a[i].push_back(bottom > 0 ? g[i][k] - top / bottom : 0);
            else
                a[i].push_back(members > 1 && o.handle_zero_tail ? g[i][k] : 0);
        }
    return at_unmasked(c, a);
}
/// Three rows of one prompt and one of another.
const advantage_case example{
    .shape = {{0, 0, 0}, {0, 0}, {0}, {0}}, .outcome = {{6, 2, 1, 50}}, .group = {0, 0, 0, 1}, .groups = 2};
const extra_arrays example_norms{.score_norm = {{1, 1, 1}, {2, 1}, {1}, {1}}};

}  // namespace

TEST_CASE("optimal_token_baseline keeps the promises of an advantage estimator") {
    check_advantage(
        "optimal_token_baseline",
        [](dice& d) { return with_row_arrays<optimal_token_baseline>{{.handle_zero_tail = d.chance(0.5)}}; },
        [](const with_row_arrays<optimal_token_baseline>& o, const advantage_case& c) {
            return by_definition(o.estimator, c, array_of(c, row_array::score_norm));
        });
}

TEST_CASE("optimal_token_baseline by hand: the baseline weighs rows by the norms so far") {
    // Position 0: (1 6 + 2 2 + 1 1) / 4 = 11 / 4; position 1: (2 6 + 3 2) / 5 = 18 / 5; position 2: one row.
    for (const layout how : layouts) {
        const actor_critic_result off = run_with(optimal_token_baseline{}, example, example_norms, how);
        REQUIRE(gap(off.advantage, table{{3.25, 2.4, 0}, {-0.75, -1.6}, {-1.75}, {0}}) < 1e-14);
        const optimal_token_baseline tail{.handle_zero_tail = true};
        REQUIRE(gap(run_with(tail, example, example_norms, how).advantage,
                    table{{3.25, 2.4, 6}, {-0.75, -1.6}, {-1.75}, {0}}) < 1e-14);
        REQUIRE(off.stats.constant_groups == 0.5);  // the group of one
    }
}

TEST_CASE("optimal_token_baseline: a hole moves no position") {
    // verl's single-turn form takes the index in the row for the position.
    const advantage_case c{
        .shape = {{0, 0, 0, 0}, {0, 0}}, .outcome = {{6, 2}}, .mask = {{1, 0, 0, 1}, {1, 1}}, .group = {0, 0}};
    const extra_arrays x{.score_norm = {{1, not_a_number, not_a_number, 1}, {2, 1}}};
    // Position 0: (6 + 4) / 3; position 1: (12 + 6) / 5.
    REQUIRE(gap(run_with(optimal_token_baseline{}, c, x).advantage,
                table{{6 - 10.0 / 3, 0, 0, 2.4}, {2 - 10.0 / 3, -1.6}}) < 1e-14);
}

TEST_CASE("optimal_token_baseline minimises the sum of W A^2 at every position") {
    dice d(4);
    for (int n = 0; n < 200; ++n) {
        const std::size_t rows = 2 + d.below(5);
        std::vector<double> reward, norm;
        for (std::size_t i = 0; i < rows; ++i) reward.push_back(d.normal()), norm.push_back(d.uniform(0.01, 2));
        const advantage_case c = one_token_rows(reward);
        table norms(rows);
        for (std::size_t i = 0; i < rows; ++i) norms[i] = {norm[i]};
        const table a = run_with(optimal_token_baseline{}, c, {.score_norm = norms}).advantage;
        const auto variance = [&](double shift) {
            double sum = 0;
            for (std::size_t i = 0; i < rows; ++i) sum += norm[i] * (a[i][0] + shift) * (a[i][0] + shift);
            return sum;
        };
        for (const double shift : {-0.1, -0.01, 0.01, 0.1}) REQUIRE(variance(0) < variance(shift));
    }
}

TEST_CASE("optimal_token_baseline with norms that grow by one a token is opo at the last token of equal rows") {
    const advantage_case c{.shape = {{0, 0}, {0, 0}, {0, 0}}, .outcome = {{1, 5, -2}}, .group = {0, 0, 0}};
    const table ones = table_like(c.shape, [](auto, auto) { return 1.0; });
    REQUIRE(gap(run_with(optimal_token_baseline{}, c, {.score_norm = ones}).advantage, run(rlgaf::opo{}, c).advantage) <
            1e-14);
}

TEST_CASE("optimal_token_baseline: where nothing has a gradient yet there is no advantage") {
    // Norms of a deterministic policy: 0 up to rounding, which may be negative.
    const advantage_case c{.shape = {{0, 0}, {0, 0}}, .outcome = {{6, 2}}, .group = {0, 0}};
    const extra_arrays nothing{.score_norm = {{-1e-17, 1}, {0, 3}}}, hardly{.score_norm = {{-1e-17, 1}, {3e-17, 3}}};
    REQUIRE(gap(run_with(optimal_token_baseline{}, c, nothing).advantage, table{{0, 3}, {0, -1}}) < 1e-14);
    REQUIRE(gap(run_with(optimal_token_baseline{}, c, hardly).advantage, table{{4, 3}, {0, -1}}) < 1e-14);
}

TEST_CASE("optimal_token_baseline: equal rewards, rows without a reward, a token or any row") {
    for (const double r : {17.3, 0.1, -5.7}) {
        const advantage_case c = one_token_rows(std::vector<double>(5, r));
        const actor_critic_result result =
            run_with(optimal_token_baseline{}, c, {.score_norm = {{0.3}, {0.7}, {0.1}, {1.9}, {1}}});
        REQUIRE(same_bits(result.advantage, zeros(c.shape)));
        REQUIRE(result.stats.constant_groups == 1);
    }
    advantage_case c = one_token_rows({4, not_a_number, 9, 6});
    c.mask = {{1}, {1}, {0}, {1}};
    const extra_arrays x{.score_norm = {{1}, {7}, {not_a_number}, {1}}};
    for (const bool tail : {false, true})
        REQUIRE(gap(run_with(optimal_token_baseline{.handle_zero_tail = tail}, c, x).advantage,
                    table{{-1}, {0}, {0}, {1}}) < 1e-15);
    // A row whose only companions have no token is a group of one.
    c.mask = {{1}, {0}, {0}, {0}};
    for (const bool tail : {false, true})
        REQUIRE(same_bits(run_with(optimal_token_baseline{.handle_zero_tail = tail}, c, x).advantage, zeros(c.shape)));
    REQUIRE(run_with(optimal_token_baseline{}, {.outcome = {{}}}, {}).advantage.empty());
}

TEST_CASE("optimal_token_baseline refuses missing norms by name") {
    const auto message = [](const advantage_case& c, const extra_arrays& x) {
        return message_of<rlgaf::shape_error>([&] { run_with(optimal_token_baseline{}, c, x); });
    };
    const std::string start = "rlgaf::optimal_token_baseline: terms.";
    REQUIRE(message(example, {}) == start + "score_norm: expected 4 elements, got 0");
    REQUIRE(message(example, {.score_norm = {{1, 1}, {1, 1}, {1}, {1}}}) ==
            start + "score_norm row 0: expected 3 tokens, got 2");
    advantage_case c = example;
    c.bootstrap = {1};
    REQUIRE(message(c, example_norms) == start + "reward.bootstrap: expected 4 elements, got 1");
}
