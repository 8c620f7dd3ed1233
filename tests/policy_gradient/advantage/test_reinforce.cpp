#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::reinforce;
using rlgaf::reinforce_baseline;

namespace {

/// Returns by their definition, one token at a time: G_t = sum over unmasked s >= t of discount^(tokens between) r_s.
/// NaN where a row takes no part or a token is masked.
table returns(const reinforce& o, const advantage_case& c) {
    return table_like(c.shape, [&](std::size_t i, std::size_t t) {
        double outcome = 0;
        for (const auto& reward : c.outcome) outcome += std::isnan(reward[i]) ? 0 : reward[i];
        if (!has_reward(c, i) || !included(c.mask, i, t)) return not_a_number;
        double g = 0, factor = 1, paid = 1;
        for (std::size_t s = t; s < c.shape[i].size(); ++s) {
            if (!included(c.mask, i, s)) continue;
            if (!c.token.empty()) g += factor * c.token[i][s];
            paid = factor;
            factor *= o.discount;
        }
        return g + paid * outcome + (c.bootstrap.empty() ? 0 : factor * c.bootstrap[i]);
    });
}
double first_return(const std::vector<double>& row) {
    for (const double g : row)
        if (!std::isnan(g)) return g;
    return not_a_number;
}
double mean_return(const table& g) {
    double sum = 0, count = 0;
    for (const auto& row : g)
        if (const double v = first_return(row); !std::isnan(v)) sum += v, count += 1;
    return count > 0 ? sum / count : 0;
}
table expected(const reinforce& o, const advantage_case& c) {
    const table g = returns(o, c);
    return table_like(c.shape, [&](std::size_t i, std::size_t t) {
        if (std::isnan(g[i][t])) return 0.0;
        if (o.baseline == reinforce_baseline::batch_mean) return g[i][t] - mean_return(g);
        if (o.baseline != reinforce_baseline::per_step) return g[i][t];  // ema: nothing to subtract in its first step
        double sum = 0, count = 0;
        for (const auto& row : g)
            if (t < row.size() && !std::isnan(row[t])) sum += row[t], count += 1;
        return g[i][t] - sum / count;
    });
}

}  // namespace

TEST_CASE("reinforce keeps the promises of an advantage estimator") {
    const auto options = [](dice& d) {
        return reinforce{.baseline = static_cast<reinforce_baseline>(d.below(4)),
                         .discount = d.chance(0.3)   ? 1
                                     : d.chance(0.1) ? 0
                                                     : d.uniform()};
    };
    check_advantage("reinforce", options, expected);
}

TEST_CASE("reinforce: rewards to go with a discount, a hole costs none, the outcome comes last") {
    const advantage_case c{.shape = {{0, 0, 0, 0, 0}},
                           .outcome = {{8}},
                           .token = {{1, 2, not_a_number, 4, not_a_number}},
                           .mask = {{1, 1, 0, 1, 0}},
                           .group = {0}};
    const reinforce o{.baseline = reinforce_baseline::none, .discount = 0.5};
    // G_3 = 4 + 8 = 12, G_1 = 2 + 12 / 2 = 8, G_0 = 1 + 8 / 2 = 5
    REQUIRE(gap(run(o, c).advantage, table{{5, 8, 0, 12, 0}}) < 1e-15);
    advantage_case cut = c;
    cut.bootstrap = {16};  // after the last token, discounted once more: G_3 = 12 + 8 = 20
    REQUIRE(gap(run(o, cut).advantage, table{{7, 12, 0, 20, 0}}) < 1e-15);
}

TEST_CASE("reinforce: a constant baseline is taken from all tokens of all rows that have a reward") {
    advantage_case c{.shape = {{0, 0}, {0}, {0}, {0}, {}},
                     .outcome = {{3, 5, not_a_number, 100, 100}},
                     .mask = {{1, 1}, {1}, {1}, {0}, {}},
                     .group = {0, 0, 0, 0, 0}};
    // Rows 2 (no reward), 3 (masked) and 4 (empty) are in no baseline: mean of 3 and 5.
    REQUIRE(gap(run(reinforce{}, c).advantage, table{{-1, -1}, {1}, {0}, {0}, {}}) < 1e-15);
    const reinforce per_step{.baseline = reinforce_baseline::per_step};
    REQUIRE(gap(run(per_step, c).advantage, table{{-1, 0}, {1}, {0}, {0}, {}}) < 1e-15);
}

TEST_CASE("reinforce: the ema baseline uses earlier steps only, corrected for its start") {
    // b_k = mu b_(k-1) + (1 - mu) mean_k, bhat = b / (1 - mu^k) (Kingma and Ba's correction).
    const double mu = 0.8, rewards[] = {4, -2, 7, 1};
    const reinforce o{.baseline = reinforce_baseline::ema, .ema_decay = mu};
    reinforce::state state;
    double b = 0;
    for (int k = 0; k < 4; ++k) {
        const double before = k == 0 ? 0 : b / (1 - std::pow(mu, k));
        const advantage_case c = one_token_rows({rewards[k] - 1, rewards[k] + 1});
        const table a = run(o, c, layout::packed, state).advantage;
        REQUIRE(gap(a, table{{rewards[k] - 1 - before}, {rewards[k] + 1 - before}}) < 1e-12);
        b = mu * b + (1 - mu) * rewards[k];
    }
    // A step without any reward leaves the memory alone.
    const double mean = state.mean, weight = state.weight;
    run(o, one_token_rows({not_a_number}), layout::packed, state);
    REQUIRE(state.mean == mean);
    REQUIRE(state.weight == weight);
    // Other baselines neither use nor change it.
    run(reinforce{}, one_token_rows({1, 2}), layout::packed, state);
    REQUIRE(state.mean == mean);

    std::vector<std::string> names;
    auto archive = [&](const char* name, double&) { names.push_back(name); };
    state.visit(archive);
    REQUIRE(names == std::vector<std::string>{"mean", "weight"});
}

TEST_CASE("reinforce gives constant rewards 0 to within rounding, and says that they are constant") {
    for (const double r : {17.3, 0.1, -5.7, static_cast<double>(17.3f), static_cast<double>(0.1f)}) {
        const advantage_result result = run(reinforce{}, one_token_rows(std::vector<double>(8, r)));
        REQUIRE(gap(result.advantage, table(8, {0.0})) < 1e-13);
        REQUIRE(result.stats.constant_groups == 1);
    }
    REQUIRE(run(reinforce{}, one_token_rows({1, 2})).stats.constant_groups == 0);
    REQUIRE(run(reinforce{}, one_token_rows({not_a_number})).stats.constant_groups == 0);
}

TEST_CASE("reinforce subtracts in double: a float advantage keeps the digits of small differences") {
    const std::vector<double> reward = {1000.0001, 1000.0003};
    const table a = run<float>(reinforce{}, one_token_rows(reward)).advantage;
    REQUIRE(gap(a, table{{-0.0001}, {0.0001}}) < 1e-10);
}

TEST_CASE("reinforce refuses options and a bootstrap out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(reinforce{.discount = x}, "reinforce", "discount"));
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(reinforce{.ema_decay = x}, "reinforce", "ema_decay"));
    REQUIRE_NOTHROW(reinforce{.discount = 0, .ema_decay = 0}.check());
    advantage_case c = one_token_rows({1, 2});
    REQUIRE_THROWS_AS(run(reinforce{.discount = 2}, c), rlgaf::option_error);
    c.bootstrap = {1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { run(reinforce{}, c); }) ==
            "rlgaf::reinforce: terms.reward.bootstrap: expected 2 elements, got 1");
}
