#pragma once
/// Sequence-level losses against their definitions, row by row.
#include "rlgaf/math/aggregation.hpp"
#include "support/policy_loss_checks.hpp"

namespace rlgaf_test {

/// The unmasked tokens of one row, as a definition sees them.
struct row_tokens {
    std::vector<double> log_ratio;  ///< to old_log_prob, or to reference_log_prob where there is none
    double advantage = 0;           ///< mean

    double sum() const {
        double total = 0;
        for (const double x : log_ratio) total += x;
        return total;
    }
    double count() const { return static_cast<double>(log_ratio.size()); }
    double mean() const { return sum() / count(); }
};

/// What a definition says of it.
struct row_answer {
    double loss;
    std::vector<double> slope;  ///< by the log-prob of each token
    double ratio = 0;
    double clipped_low = 0, clipped_high = 0;  ///< tokens
};

inline double held_within(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/// Empty where the row has no unmasked token.
inline row_tokens tokens_of_row(const policy_case& c, std::size_t b) {
    const table& anchor = c.old_log_prob.empty() ? c.reference_log_prob : c.old_log_prob;
    row_tokens row;
    for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
        if (included(c.mask, b, t)) {
            row.log_ratio.push_back(c.log_prob[b][t] - anchor[b][t]);
            row.advantage += c.advantage[b][t];
        }
    if (!row.log_ratio.empty()) row.advantage /= row.count();
    return row;
}

/// Rows of up to 400 tokens, some of them a whole number of the library's blocks; small, middle and large ratios.
inline policy_case long_rows(dice& d, const policy_loss_traits& traits) {
    policy_case c;
    const std::size_t blocks[] = {127, 128, 129, 256, 257};
    for (std::size_t b = 0; b < 3; ++b) {
        const std::size_t n = d.chance(0.5) ? blocks[d.below(5)] : 1 + d.below(400);
        const double spread = std::exp(d.uniform(-8, 1)), drift = d.chance(0.5) ? 0 : d.uniform(-0.2, 0.2);
        c.log_prob.emplace_back(), c.old_log_prob.emplace_back(), c.advantage.emplace_back();
        for (std::size_t t = 0; t < n; ++t) {
            c.log_prob[b].push_back(d.uniform(-4, -1));
            c.old_log_prob[b].push_back(c.log_prob[b][t] + drift + spread * d.normal());
            c.advantage[b].push_back(d.normal());
        }
        c.weight.push_back(d.uniform(0, 2));
    }
    if (traits.needs[0] == "reference_log_prob") c.reference_log_prob.swap(c.old_log_prob);
    c.mask = random_mask(d, c.log_prob);
    if (d.chance(0.5)) c.token_factor = table_like(c.log_prob, [&](auto, auto) { return d.uniform(0, 2); });
    return c;
}

/// Loss, gradient and statistics are what `definition(loss, row_tokens) -> row_answer` says, with w_i times the sum of
/// the row's factors, over thousands of random cases.
template <class Make, class Definition>
void check_row_definition(const policy_loss_traits& traits, Make&& make, Definition&& definition) {
    dice d(31 + traits.function.size());
    double rows = 0, unclipped = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        const policy_case c = i % 5 == 0 ? long_rows(d, traits) : random_policy_case(d, traits);
        rlgaf::policy_loss_stats expected;
        table slope = zeros(c.log_prob);
        double size = 1;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b) {
            const row_tokens row = tokens_of_row(c, b);
            if (row.log_ratio.empty()) continue;
            const row_answer answer = definition(loss, row);
            double weight = 0;
            std::size_t token = 0;
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
                if (included(c.mask, b, t)) weight += c.weight[b] * (c.token_factor.empty() ? 1 : c.token_factor[b][t]);
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
                if (included(c.mask, b, t)) slope[b][t] = weight * answer.slope[token++];
            size += std::abs(weight * answer.loss);
            expected.merge({.loss = weight * answer.loss,
                            .tokens = row.count(),
                            .clipped_low = answer.clipped_low,
                            .clipped_high = answer.clipped_high,
                            .ratio_max = answer.ratio});
            if (!c.old_log_prob.empty())
                for (const double x : row.log_ratio)
                    expected.kl_old += std::expm1(held_within(x, -20, 20)) - held_within(x, -20, 20);
            rows += 1, unclipped += answer.clipped_low + answer.clipped_high == 0;
        }
        policy_arrays<double> arrays(c, layout::packed);
        ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
        const rlgaf::policy_loss_stats stats =
            loss(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
        REQUIRE(gap(stats.loss, expected.loss) < 1e-11 * size);
        REQUIRE(stats.tokens == expected.tokens);
        REQUIRE(stats.clipped_low == expected.clipped_low);
        REQUIRE(stats.clipped_high == expected.clipped_high);
        REQUIRE(gap(stats.ratio_max, expected.ratio_max) < 1e-11 * (1 + expected.ratio_max));
        REQUIRE(gap(stats.kl_old, expected.kl_old) < 1e-11 * (1 + expected.kl_old));
        const table found = gradient.rows();
        double worst = 0;
        for (std::size_t b = 0; b < slope.size(); ++b)
            for (std::size_t t = 0; t < slope[b].size(); ++t)
                worst = std::fmax(worst, gap(found[b][t], slope[b][t]) / (1 + std::abs(slope[b][t])));
        REQUIRE(worst < 1e-11);
    }
    REQUIRE(rows > 5000);
    REQUIRE(unclipped > 0.2 * rows);
}

/// Long rows in float, both layouts and with what is masked spoiled.
template <class Make>
void check_long_rows(const policy_loss_traits& traits, Make&& make) {
    dice d(97);
    for (int i = 0; i < 40; ++i) check_storage(make(d), long_rows(d, traits), d);
}

/// What a loss owes whose gradient takes part of the formula as constant: all of check_policy_loss, with log_prob and
/// old_log_prob moved together for the slope, so that no ratio moves.
template <class Make>
void check_detached_policy_loss(const policy_loss_traits& traits, Make&& make) {
    dice d(2305 + traits.function.size());
    std::size_t compared = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        policy_case c = random_policy_case(d, traits);
        if (i % 10 == 0) check_storage(loss, c, d), check_rows(loss, c, d);
        const table gradient = run(loss, c).gradient;
        double worst = 0;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                const double old = c.old_log_prob[b][t], ratio = c.log_prob[b][t] - old;
                const double expected = slope(
                    [&] {
                        c.old_log_prob[b][t] = c.log_prob[b][t] - ratio;
                        return run(loss, c).loss;
                    },
                    c.log_prob[b][t]);
                c.old_log_prob[b][t] = old;
                worst = std::fmax(worst, gap(expected, gradient[b][t]) / (1 + std::abs(expected)));
                ++compared;
            }
        REQUIRE(worst < 1e-6);
    }
    REQUIRE(compared > 9000);
    const auto loss = make(d);
    check_nothing_to_learn(loss, traits);
    check_no_allocation(loss, traits, d);
    check_shape_errors(loss, traits);
}

/// One row of `n` equal tokens.
inline policy_case even_row(std::size_t n, double log_ratio, double advantage, double weight = 1) {
    const std::vector<double> old(n, -1), now(n, -1 + log_ratio), a(n, advantage);
    return {.log_prob = {now}, .old_log_prob = {old}, .advantage = {a}, .weight = {weight}};
}
/// The formula sheet's three tokens under one advantage, with a weight that makes the row's factor 1.
inline policy_case sheet_row(double advantage) {
    return {.log_prob = {{-0.7, -2.4, -0.5}},
            .old_log_prob = {{-1, -2, -0.5}},
            .advantage = {{advantage, advantage, advantage}},
            .weight = {1.0 / 3}};
}

/// Weights of the rows of a case under an aggregation.
inline void aggregate_rows(policy_case& c, rlgaf::aggregation mode) {
    std::vector<std::uint32_t> count;
    for (std::size_t b = 0; b < c.log_prob.size(); ++b)
        count.push_back(static_cast<std::uint32_t>(tokens_of_row(c, b).log_ratio.size()));
    const std::vector<std::uint32_t> group(count.size(), 0);
    rlgaf::workspace work;
    c.weight.assign(count.size(), 0.0);
    rlgaf::aggregate{.mode = mode}(count, {group, 1}, work, c.weight);
}

/// Rows without an unmasked token are no rows: neither their count nor their weight is used. Of lengths 0 and 1, where
/// n - 1 would underflow, too.
template <class Loss>
void check_empty_rows(const Loss& loss, const policy_loss_traits& traits) {
    policy_case c{.log_prob = {{}, {-1.1}, {-0.9, -1.2}, {-0.5, -0.6, -0.7}, {}},
                  .mask = {{}, {0}, {1, 1}, {0, 0, 0}, {}}};
    c[traits.needs[0]] = {{}, {not_a_number}, {-1, -1.1}, {-1, not_a_number, infinity}, {}};
    c.advantage = {{}, {not_a_number}, {0.5, 1.5}, {1, 2, not_a_number}, {}};
    policy_case alone{.log_prob = {c.log_prob[2]}, .advantage = {c.advantage[2]}};
    alone[traits.needs[0]] = {c[traits.needs[0]][2]};
    aggregate_rows(c, rlgaf::aggregation::sequence_mean);
    aggregate_rows(alone, rlgaf::aggregation::sequence_mean);
    REQUIRE(c.weight[2] == 0.5);
    c.weight[1] = c.weight[3] = 7;
    const policy_result all = run(loss, c), one = run(loss, alone);
    REQUIRE(same_bits(all.loss, one.loss));
    REQUIRE(same_bits(all.gradient, table{{}, {0}, one.gradient[0], {0, 0, 0}, {}}));
    REQUIRE(one.gradient[0][0] != 0);
}

}  // namespace rlgaf_test
