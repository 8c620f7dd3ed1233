#pragma once
/// What every loss on pairs of rows owes: see check_pair_list and check_pair_loss.
#include <string>
#include <vector>

#include "rlgaf/preference/terms.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

namespace rlgaf_test {

using pair_list = std::vector<rlgaf::preference_pair>;

/// Pairs of different rows; now and then none, or one without weight.
inline pair_list random_pairs(dice& d, std::size_t rows) {
    pair_list pairs(rows < 2 ? 0 : d.below(7));
    for (rlgaf::preference_pair& pair : pairs) {
        pair.chosen = static_cast<std::uint32_t>(d.below(rows));
        pair.rejected = static_cast<std::uint32_t>((pair.chosen + 1 + d.below(rows - 1)) % rows);
        pair.weight = d.chance(0.1) ? 0 : d.chance(0.5) ? 1 : d.uniform(0.1, 3);
    }
    return pairs;
}
inline double weight_of(const pair_list& pairs) {
    double total = 0;
    for (const auto& pair : pairs) total += pair.weight;
    return total;
}
/// The same pairs after row order[i] has become row i.
inline pair_list renumbered(pair_list pairs, const std::vector<std::size_t>& order) {
    std::vector<std::uint32_t> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<std::uint32_t>(i);
    for (auto& pair : pairs) pair.chosen = place[pair.chosen], pair.rejected = place[pair.rejected];
    return pairs;
}

/// What one call gives: statistics and d_... of all rows in one line.
struct pair_values {
    rlgaf::preference_stats stats;
    std::vector<double> gradient;
};

inline void require_close(const rlgaf::preference_stats& a, const rlgaf::preference_stats& b, double tolerance) {
    REQUIRE(gap(a.loss, b.loss) < tolerance * (1 + std::abs(b.loss)));
    REQUIRE(gap(a.chosen, b.chosen) < tolerance * (1 + std::abs(b.chosen)));
    REQUIRE(gap(a.rejected, b.rejected) < tolerance * (1 + std::abs(b.rejected)));
    REQUIRE(gap(a.margin, b.margin) < tolerance * (1 + std::abs(b.chosen) + std::abs(b.rejected)));
    REQUIRE(gap(a.accuracy, b.accuracy) < tolerance);
}
inline void require_close(const pair_values& a, const pair_values& b, double tolerance) {
    require_close(a.stats, b.stats, tolerance);
    double size = 1;
    for (const double g : b.gradient) size = std::fmax(size, std::abs(g));
    REQUIRE(gap(a.gradient, b.gradient) < tolerance * size);
}

/// Only the pairs and the ratios of their weights matter, not their order; the parts of a list average to the whole.
/// evaluate(pairs) is one call with gradients that start at 0.
template <class Evaluate>
void check_pair_list(const pair_list& pairs, dice& d, Evaluate&& evaluate) {
    const pair_values plain = evaluate(pairs);
    require_close(evaluate(permuted(pairs, d.permutation(pairs.size()))), plain, 1e-12);

    pair_list scaled = pairs;
    for (auto& pair : scaled) pair.weight *= 2.5;
    require_close(evaluate(scaled), plain, 1e-12);

    pair_list halved = pairs;
    for (auto& pair : halved) pair.weight /= 2;
    halved.insert(halved.end(), halved.begin(), halved.begin() + static_cast<std::ptrdiff_t>(pairs.size()));
    require_close(evaluate(halved), plain, 1e-12);

    const auto cut = static_cast<std::ptrdiff_t>(d.below(pairs.size() + 1));
    const pair_list first(pairs.begin(), pairs.begin() + cut), rest(pairs.begin() + cut, pairs.end());
    if (weight_of(first) == 0 || weight_of(rest) == 0) return;
    const double share = weight_of(first) / weight_of(pairs);
    const pair_values a = evaluate(first), b = evaluate(rest);
    pair_values joined = a;
    const auto join = [&](double x, double y) { return share * x + (1 - share) * y; };
    joined.stats = {join(a.stats.loss, b.stats.loss), join(a.stats.chosen, b.stats.chosen),
                    join(a.stats.rejected, b.stats.rejected), join(a.stats.accuracy, b.stats.accuracy),
                    join(a.stats.margin, b.stats.margin)};
    for (std::size_t i = 0; i < a.gradient.size(); ++i) joined.gradient[i] = join(a.gradient[i], b.gradient[i]);
    require_close(joined, plain, 1e-12);
}

/// No pairs, or none with weight: loss 0, accuracy of a guess, no gradient.
template <class Evaluate>
void check_no_pairs(Evaluate&& evaluate) {
    for (const pair_list& pairs : {pair_list{}, pair_list{{0, 1, 0}, {2, 1, 0}}}) {
        const pair_values r = evaluate(pairs);
        REQUIRE(r.stats.loss == 0);
        REQUIRE(r.stats.chosen == 0);
        REQUIRE(r.stats.rejected == 0);
        REQUIRE(r.stats.margin == 0);
        REQUIRE(r.stats.accuracy == 0.5);
        REQUIRE(gap(r.gradient, std::vector<double>(r.gradient.size())) == 0);
    }
}

/// Pairs of three rows that cannot be are refused by number.
template <class Evaluate>
void check_pair_errors(const std::string& function, Evaluate&& evaluate) {
    const std::string start = "rlgaf::" + function + ": pairs[1]";
    const auto shape = [&](rlgaf::preference_pair bad) {
        return message_of<rlgaf::shape_error>([&] { evaluate(pair_list{{0, 1}, bad}); });
    };
    REQUIRE(shape({2, 0}) == "nothing thrown");
    REQUIRE(shape({3, 0}) == start + ": expected rows below 3, got 3 and 0");
    REQUIRE(shape({1, 7}) == start + ": expected rows below 3, got 1 and 7");
    REQUIRE(shape({2, 2}) == start + ": expected two different rows, got row 2 twice");
    for (const double bad : {-0.5, infinity, not_a_number})
        REQUIRE(message_of<rlgaf::numeric_error>([&] {
                    evaluate(pair_list{{0, 1}, {0, 2, bad}});
                }).starts_with(start + ".weight: expected a finite number that is 0 or positive, got "));
}

// --- Losses on log-probs --------------------------------------------------------------------------------------------

/// The inputs of one call. An empty mask is not given.
struct pair_case {
    table log_prob{}, reference_log_prob{}, mask{};
    pair_list pairs{};
};

/// The arrays of a case in one layout and storage type. Guards of the mask say "included", the others are NaN.
template <class T>
struct pair_arrays {
    ragged<T> log_prob, reference_log_prob;
    ragged<std::uint8_t> mask;
    pair_list pairs;

    pair_arrays(const pair_case& c, layout how)
        : log_prob(c.log_prob, how, static_cast<T>(not_a_number)),
          reference_log_prob(c.reference_log_prob, how, static_cast<T>(not_a_number)),
          mask(c.mask, how, 1),
          pairs(c.pairs) {}
    rlgaf::preference_terms<T> terms() { return {log_prob.view(), reference_log_prob.view(), pairs, mask.view()}; }
};

struct pair_result {
    rlgaf::preference_stats stats;
    table gradient;
};

template <class T, class Loss>
pair_result run(const Loss& loss, const pair_case& c, layout how, const table& start) {
    pair_arrays<T> arrays(c, how);
    ragged<T> gradient(start, how, T{77});
    rlgaf::workspace work;
    work.a = work.b = work.c = work.d = work.e = {1e12, 1e12, 1e12};  // what another component left there
    const auto stats = loss(arrays.terms(), work, gradient.view());
    REQUIRE(gradient.guards_intact());
    return {stats, gradient.rows()};
}
template <class T = double, class Loss>
pair_result run(const Loss& loss, const pair_case& c, layout how = layout::packed) {
    return run<T>(loss, c, how, zeros(c.log_prob));
}

/// Rows of uneven length, some empty, some all masked, near their reference or far from it.
inline pair_case random_pair_case(dice& d) {
    pair_case c;
    const table shape = random_shape(d, 6, 7);
    c.reference_log_prob = table_like(shape, [&](auto, auto) { return d.uniform(-4, 0); });
    const double spread = d.chance(0.2) ? 4 : 0.5;
    c.log_prob = table_like(
        shape, [&](std::size_t b, std::size_t t) { return c.reference_log_prob[b][t] + spread * d.normal(); });
    c.mask = random_mask(d, shape);
    if (!c.mask.empty() && d.chance(0.3))
        for (double& m : c.mask[d.below(c.mask.size())]) m = 0;
    c.pairs = random_pairs(d, shape.size());
    return c;
}

/// What the definition of a pair's loss is made of.
struct row_sums {
    double ratio = 0, log_prob = 0, tokens = 0;
};
inline row_sums sums_of(const pair_case& c, std::size_t b) {
    row_sums s;
    for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
        if (included(c.mask, b, t)) {
            s.ratio += c.log_prob[b][t] - c.reference_log_prob[b][t];
            s.log_prob += c.log_prob[b][t];
            s.tokens += 1;
        }
    return s;
}

/// The statistics, straight from the definition: pair_loss(chosen, rejected) of row_sums, and the scale of rewards.
template <class PairLoss>
rlgaf::preference_stats stats_by_definition(const pair_case& c, double beta, PairLoss&& pair_loss) {
    const double total = weight_of(c.pairs);
    if (total == 0) return {};
    rlgaf::preference_stats stats{.accuracy = 0};
    for (const auto& pair : c.pairs) {
        const row_sums chosen = sums_of(c, pair.chosen), rejected = sums_of(c, pair.rejected);
        const double share = pair.weight / total, gap_of_rewards = beta * (chosen.ratio - rejected.ratio);
        stats.loss += share * pair_loss(chosen, rejected);
        stats.chosen += share * beta * chosen.ratio;
        stats.rejected += share * beta * rejected.ratio;
        stats.margin += share * gap_of_rewards;
        stats.accuracy += share * (gap_of_rewards > 0 ? 1 : gap_of_rewards < 0 ? 0 : 0.5);
    }
    return stats;
}

/// Gradient = slope of the loss. Returns how many tokens were compared.
template <class Loss>
std::size_t check_pair_slopes(const Loss& loss, pair_case c) {
    const table gradient = run(loss, c).gradient;
    std::size_t compared = 0;
    double worst = 0;
    for (std::size_t b = 0; b < c.log_prob.size(); ++b)
        for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
            const double expected = slope([&] { return run(loss, c).stats.loss; }, c.log_prob[b][t]);
            worst = std::fmax(worst, gap(expected, gradient[b][t]) / (1 + std::abs(expected)));
            ++compared;
        }
    REQUIRE(worst < 1e-6);
    return compared;
}

/// Masked slots are neither read nor written; what is there is added to; both layouts and float agree; the order of
/// rows does not matter.
template <class Loss>
void check_pair_storage(const Loss& loss, const pair_case& c, dice& d) {
    const pair_result plain = run(loss, c);
    const pair_result padded = run(loss, c, layout::padded);
    REQUIRE(same_bits(padded.stats.loss, plain.stats.loss));
    REQUIRE(same_bits(padded.gradient, plain.gradient));

    const table start = table_like(c.log_prob, [&](auto, auto) { return d.normal(); });
    const pair_result added = run<double>(loss, c, layout::packed, start);
    REQUIRE(same_bits(added.stats.loss, plain.stats.loss));
    REQUIRE(same_bits(added.gradient,
                      table_like(start, [&](auto b, auto t) { return start[b][t] + plain.gradient[b][t]; })));

    pair_case rounded = c;
    for (table* x : {&rounded.log_prob, &rounded.reference_log_prob}) *x = as_float(*x);
    const pair_result wide = run(loss, rounded);
    for (const layout how : layouts) {
        const pair_result narrow = run<float>(loss, rounded, how);
        REQUIRE(same_bits(narrow.stats.loss, wide.stats.loss));
        REQUIRE(same_bits(narrow.gradient, as_float(wide.gradient)));
    }

    pair_case spoiled = c;
    for (table* x : {&spoiled.log_prob, &spoiled.reference_log_prob})
        *x = table_like(*x, [&](auto b, auto t) { return included(c.mask, b, t) ? (*x)[b][t] : not_a_number; });
    const table marked = table_like(start, [&](auto b, auto t) { return included(c.mask, b, t) ? 0 : not_a_number; });
    for (const layout how : layouts) {
        const pair_result masked = run<double>(loss, spoiled, how, marked);
        REQUIRE(same_bits(masked.stats.loss, plain.stats.loss));
        REQUIRE(same_bits(masked.gradient, table_like(start, [&](auto b, auto t) {
                              return included(c.mask, b, t) ? plain.gradient[b][t] : not_a_number;
                          })));
    }

    const std::vector<std::size_t> order = d.permutation(c.log_prob.size());
    const pair_case shuffled{permuted(c.log_prob, order), permuted(c.reference_log_prob, order),
                             permuted(c.mask, order), renumbered(c.pairs, order)};
    const pair_result other = run(loss, shuffled);
    REQUIRE(same_bits(other.stats.loss, plain.stats.loss));
    REQUIRE(same_bits(other.gradient, permuted(plain.gradient, order)));
}

/// No rows, empty rows, masked rows, no pairs; what is in no pair; the second call allocates nothing.
template <class Loss>
void check_pair_edges(const Loss& loss) {
    REQUIRE(run(loss, pair_case{}).stats.loss == 0);
    const table shape = {{-1, -2}, {}, {-3}, {-0.5}};
    for (const table& mask : {table{}, zeros(shape)}) {
        const auto evaluate = [&](const pair_list& pairs) {
            const pair_result r = run(loss, pair_case{shape, zeros(shape), mask, pairs});
            pair_values v{r.stats, {}};
            for (const auto& row : r.gradient) v.gradient.insert(v.gradient.end(), row.begin(), row.end());
            return v;
        };
        check_no_pairs(evaluate);
        if (mask.empty()) continue;
        const pair_values masked = evaluate({{0, 1}, {2, 0}});
        REQUIRE(std::abs(masked.stats.loss) < infinity);
        REQUIRE(masked.stats.margin == 0);
        REQUIRE(masked.stats.accuracy == 0.5);
        REQUIRE(gap(masked.gradient, std::vector<double>(4)) == 0);
    }
    const table unused = {{-1}, {-2}, {not_a_number, -infinity}};
    const pair_result r = run(loss, pair_case{unused, zeros(unused), {}, {{0, 1}, {2, 1, 0}}});
    REQUIRE(std::abs(r.stats.loss) < infinity);
    REQUIRE(gap(r.gradient[2], {0, 0}) == 0);

    pair_arrays<float> arrays(pair_case{shape, zeros(shape), {}, {{0, 1}, {2, 3}}}, layout::padded);
    ragged<float> gradient(zeros(shape), layout::padded, 77.0f);
    rlgaf::workspace work;
    const auto terms = arrays.terms();
    const auto view = gradient.view();
    loss(terms, work, view);
    REQUIRE(allocations_of([&] { loss(terms, work, view); }) == 0);
}

/// Every array with a row too few or a token too many is refused by name, with expected and actual size.
template <class Loss>
void check_pair_shapes(const Loss& loss, const std::string& function) {
    const table three = {{-1, -2}, {}, {-3, -1, -2}}, few = {{1, 1}, {}}, many = {{1, 1}, {}, {1, 1, 1, 1}};
    const pair_case good{three, three, {}, {{0, 2}}};
    const std::string start = "rlgaf::" + function + ": ";
    const auto message = [&](const pair_case& bad, const table& gradient) {
        return message_of<rlgaf::shape_error>([&] { run<double>(loss, bad, layout::padded, gradient); });
    };
    REQUIRE(message(good, three) == "nothing thrown");
    pair_case bad = good;
    bad.reference_log_prob = few;
    REQUIRE(message(bad, three) == start + "terms.reference_log_prob: expected 3 elements, got 2");
    bad.reference_log_prob = many;
    REQUIRE(message(bad, three) == start + "terms.reference_log_prob row 2: expected 3 tokens, got 4");
    bad.reference_log_prob = {};
    REQUIRE(message(bad, three) == start + "terms.reference_log_prob: expected 3 elements, got 0");
    bad = good;
    bad.mask = few;
    REQUIRE(message(bad, three) == start + "terms.mask: expected 3 elements, got 2");
    bad.mask = many;
    REQUIRE(message(bad, three) == start + "terms.mask row 2: expected 3 tokens, got 4");
    REQUIRE(message(good, few) == start + "d_log_prob: expected 3 elements, got 2");
    REQUIRE(message(good, many) == start + "d_log_prob row 2: expected 3 tokens, got 4");
    check_pair_errors(function, [&](const pair_list& pairs) { run(loss, pair_case{three, three, {}, pairs}); });
}

/// All of the above on random cases. make(dice) gives a loss with random options, beta(loss) the scale of its rewards,
/// definition(loss, chosen, rejected) the loss of a pair; near_kink likewise says where it has no derivative.
template <class Make, class Beta, class Definition, class NearKink>
void check_pair_loss(const std::string& function, Make&& make, Beta&& beta, Definition&& definition,
                     NearKink&& near_kink, std::size_t cases = 3000) {
    dice d(2305 + function.size());
    std::size_t compared = 0;
    for (std::size_t i = 0; i < cases; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        const pair_case c = random_pair_case(d);
        bool smooth = true;
        const auto expected = stats_by_definition(c, beta(loss), [&](const row_sums& a, const row_sums& b) {
            if (near_kink(loss, a, b)) smooth = false;
            return definition(loss, a, b);
        });
        require_close(run(loss, c).stats, expected, 1e-11);
        if (smooth) compared += check_pair_slopes(loss, c);
        if (i % 10 != 0) continue;
        check_pair_storage(loss, c, d);
        check_pair_list(c.pairs, d, [&](const pair_list& pairs) {
            pair_case other = c;
            other.pairs = pairs;
            const pair_result r = run(loss, other);
            pair_values v{r.stats, {}};
            for (const auto& row : r.gradient) v.gradient.insert(v.gradient.end(), row.begin(), row.end());
            return v;
        });
    }
    REQUIRE(compared > 3 * cases);
    check_pair_edges(make(d));
    check_pair_shapes(make(d), function);
}

}  // namespace rlgaf_test
