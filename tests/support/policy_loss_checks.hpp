#pragma once
/// What every loss on log-probs (or entropies) owes: see check_policy_loss.
#include <string>
#include <vector>

#include "rlgaf/policy_gradient/terms.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

namespace rlgaf_test {

/// The inputs of one call. An empty table is an array that is not given.
struct policy_case {
    table log_prob{}, old_log_prob{}, advantage{}, reference_log_prob{}, token_factor{}, entropy{}, mask{};
    std::vector<double> weight{};

    table& operator[](const std::string& name) {
        if (name == "old_log_prob") return old_log_prob;
        if (name == "advantage") return advantage;
        if (name == "reference_log_prob") return reference_log_prob;
        if (name == "token_factor") return token_factor;
        if (name == "entropy") return entropy;
        return name == "mask" ? mask : log_prob;
    }
    std::vector<table*> tables() {
        return {&log_prob, &old_log_prob, &advantage, &reference_log_prob, &token_factor, &entropy, &mask};
    }
};

struct policy_loss_traits {
    std::string function;            ///< as it is called in messages
    std::vector<std::string> needs;  ///< arrays that it reads besides log_prob
    bool by_entropy = false;         ///< the gradient is by entropy, not by log_prob
    bool factor = true;              ///< token_factor has an effect
    std::string prefix = "terms.";   ///< of the arrays' names in messages
    std::string gradient = "gradient";
};

/// The arrays of a case in one layout and storage type. Guards of the mask say "included", the others are NaN.
template <class T>
struct policy_arrays {
    ragged<T> log_prob, old_log_prob, advantage, reference_log_prob, token_factor, entropy;
    ragged<std::uint8_t> mask;
    std::vector<double> weight;

    policy_arrays(const policy_case& c, layout how)
        : log_prob(c.log_prob, how, static_cast<T>(not_a_number)),
          old_log_prob(c.old_log_prob, how, static_cast<T>(not_a_number)),
          advantage(c.advantage, how, static_cast<T>(not_a_number)),
          reference_log_prob(c.reference_log_prob, how, static_cast<T>(not_a_number)),
          token_factor(c.token_factor, how, static_cast<T>(not_a_number)),
          entropy(c.entropy, how, static_cast<T>(not_a_number)),
          mask(c.mask, how, 1),
          weight(c.weight) {}

    rlgaf::policy_terms<T> terms() {
        return {log_prob.view(),           old_log_prob.view(), advantage.view(), mask.view(),
                reference_log_prob.view(), token_factor.view(), entropy.view()};
    }
};

struct policy_result {
    double loss;
    table gradient;
};

template <class T, class Loss>
policy_result run(const Loss& loss, const policy_case& c, layout how, const table& start) {
    policy_arrays<T> arrays(c, how);
    ragged<T> gradient(start, how, T{77});
    const auto stats = loss(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
    REQUIRE(gradient.guards_intact());
    return {stats.loss, gradient.rows()};
}
template <class T = double, class Loss>
policy_result run(const Loss& loss, const policy_case& c, layout how = layout::packed) {
    return run<T>(loss, c, how, zeros(c.log_prob));
}
/// Of a single token, with weight 1.
template <class Loss>
policy_result run_token(const Loss& loss, double log_prob, double old_log_prob, double advantage,
                        double reference_log_prob = 0) {
    return run(loss, policy_case{.log_prob = {{log_prob}},
                                 .old_log_prob = {{old_log_prob}},
                                 .advantage = {{advantage}},
                                 .reference_log_prob = {{reference_log_prob}},
                                 .weight = {1}});
}

/// Random log-probs with a ratio near 1, now and then one far below; all arrays that the loss needs.
inline policy_case random_policy_case(dice& d, const policy_loss_traits& traits) {
    policy_case c;
    const table shape = random_shape(d, 5, 6);
    const table old = table_like(shape, [&](auto, auto) { return d.uniform(-4, 0); });
    c.log_prob = table_like(
        shape, [&](auto b, auto t) { return old[b][t] + (d.chance(0.03) ? d.uniform(-40, -15) : 0.4 * d.normal()); });
    for (const std::string& name : traits.needs) {
        if (name == "old_log_prob") c.old_log_prob = old;
        if (name == "advantage")
            c.advantage = table_like(shape, [&](auto, auto) { return d.chance(0.1) ? 0.0 : d.normal(); });
        if (name == "reference_log_prob")
            c.reference_log_prob = table_like(shape, [&](auto b, auto t) { return c.log_prob[b][t] + d.normal(); });
        if (name == "entropy") c.entropy = table_like(shape, [&](auto, auto) { return d.uniform(0, 3); });
    }
    if (traits.factor && d.chance(0.5))
        c.token_factor = table_like(shape, [&](auto, auto) { return d.chance(0.1) ? 0.0 : d.uniform(0, 2); });
    c.mask = random_mask(d, shape);
    for (std::size_t b = 0; b < shape.size(); ++b) c.weight.push_back(d.chance(0.1) ? 0 : d.uniform(0, 2));
    return c;
}

/// Gradient = slope of the loss, but at tokens where near_kink(row, token). Returns how many tokens were compared.
template <class Loss, class NearKink>
std::size_t check_slopes(const Loss& loss, policy_case c, bool by_entropy, NearKink&& near_kink) {
    const table gradient = run(loss, c).gradient;
    table& x = by_entropy ? c.entropy : c.log_prob;
    std::size_t compared = 0;
    double worst = 0;
    for (std::size_t b = 0; b < x.size(); ++b)
        for (std::size_t t = 0; t < x[b].size(); ++t) {
            if (near_kink(b, t)) continue;
            const double expected = slope([&] { return run(loss, c).loss; }, x[b][t]);
            worst = std::fmax(worst, gap(expected, gradient[b][t]) / (1 + std::abs(expected)));
            ++compared;
        }
    REQUIRE(worst < 1e-6);
    return compared;
}

/// Masked slots are neither read nor written; what is there is added to; both layouts give the same bits, float the same to
/// its precision.
template <class Loss>
void check_storage(const Loss& loss, policy_case c, dice& d) {
    const policy_result plain = run(loss, c);
    const policy_result padded = run(loss, c, layout::padded);
    REQUIRE(same_bits(padded.loss, plain.loss));
    REQUIRE(same_bits(padded.gradient, plain.gradient));

    const table start = table_like(c.log_prob, [&](auto, auto) { return d.normal(); });
    const policy_result added = run<double>(loss, c, layout::packed, start);
    REQUIRE(same_bits(added.loss, plain.loss));
    REQUIRE(same_bits(added.gradient,
                      table_like(start, [&](auto b, auto t) { return start[b][t] + plain.gradient[b][t]; })));

    policy_case rounded = c;
    for (table* x : rounded.tables()) *x = as_float(*x);
    const policy_result wide = run(loss, rounded);
    for (const layout how : layouts) {
        const policy_result narrow = run<float>(loss, rounded, how);
        double size = 1 + std::abs(wide.loss);
        for (std::size_t b = 0; b < wide.gradient.size(); ++b)
            for (std::size_t t = 0; t < wide.gradient[b].size(); ++t) {
                const double g = wide.gradient[b][t];
                REQUIRE(gap(narrow.gradient[b][t], g) <= 2e-6 * (1 + std::abs(g)));
                size += std::abs(g) * (1 + std::abs(c.log_prob[b][t]));
            }
        REQUIRE(gap(narrow.loss, wide.loss) <= 2e-6 * size);
    }

    policy_case spoiled = c;
    if (!c.mask.empty())
        for (table* x : spoiled.tables())
            if (x != &spoiled.mask && !x->empty())
                *x = table_like(*x, [&](auto b, auto t) { return included(c.mask, b, t) ? (*x)[b][t] : not_a_number; });
    const table marked = table_like(start, [&](auto b, auto t) { return included(c.mask, b, t) ? 0 : not_a_number; });
    for (const layout how : layouts) {
        const policy_result masked = run<double>(loss, spoiled, how, marked);
        REQUIRE(same_bits(masked.loss, plain.loss));
        REQUIRE(same_bits(masked.gradient, table_like(start, [&](auto b, auto t) {
                              return included(c.mask, b, t) ? plain.gradient[b][t] : not_a_number;
                          })));
    }
}

/// The statistics of two parts merge to those of the whole.
template <class Loss, class Stats>
void check_merge(const Loss& loss, const policy_case& c, Stats stats, const Stats& rest) {
    if constexpr (requires { stats.merge(rest); }) {
        policy_arrays<double> arrays(c, layout::packed);
        ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
        const Stats whole = loss(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
        stats.merge(rest);
        REQUIRE(gap(stats.loss, whole.loss) < 1e-12 * (1 + std::abs(whole.loss)));
        REQUIRE(stats.tokens == whole.tokens);
        if constexpr (requires { stats.value; }) REQUIRE(gap(stats.value, whole.value) < 1e-9);
        if constexpr (requires { stats.ratio_max; }) {
            REQUIRE(stats.clipped_low == whole.clipped_low);
            REQUIRE(stats.clipped_high == whole.clipped_high);
            REQUIRE(stats.clipped_dual == whole.clipped_dual);
            REQUIRE(stats.ratio_max == whole.ratio_max);
            REQUIRE(gap(stats.kl_old, whole.kl_old) < 1e-9);
        }
    }
}

/// The order of rows does not matter, and a step may be cut in two.
template <class Loss>
void check_rows(const Loss& loss, policy_case c, dice& d) {
    const std::size_t rows = c.log_prob.size();
    const policy_result plain = run(loss, c);
    const double close = 1e-12 * (1 + std::abs(plain.loss));

    const std::vector<std::size_t> order = d.permutation(rows);
    policy_case shuffled = c;
    for (table* x : shuffled.tables()) *x = permuted(*x, order);
    shuffled.weight = permuted(c.weight, order);
    const policy_result other = run(loss, shuffled);
    REQUIRE(gap(other.loss, plain.loss) < close);
    REQUIRE(same_bits(other.gradient, permuted(plain.gradient, order)));

    const std::size_t cut = d.below(rows + 1);
    for (const layout how : layouts) {
        policy_arrays<double> arrays(c, how);
        ragged<double> gradient(zeros(c.log_prob), how, 77.0);
        const auto part = [&](std::size_t first, std::size_t count) {
            const std::span<const double> weight = std::span<const double>(arrays.weight).subspan(first, count);
            return loss(arrays.terms().slice(first, count), weight, gradient.view().slice(first, count));
        };
        if (rows == 0) break;
        const auto stats = part(0, cut), rest = part(cut, rows - cut);
        REQUIRE(gap(stats.loss + rest.loss, plain.loss) < close);
        check_merge(loss, c, stats, rest);
        REQUIRE(same_bits(gradient.rows(), plain.gradient));
    }
}

/// No rows, empty rows and masked rows: loss 0, and the gradient keeps what it has.
template <class Loss>
void check_nothing_to_learn(const Loss& loss, const policy_loss_traits& traits) {
    const table shapes[] = {{}, {{}, {}, {}}, {{1, 2}, {}, {3}}};
    for (const table& shape : shapes) {
        policy_case c;
        c.log_prob = c.mask = zeros(shape);
        for (const std::string& name : traits.needs) c[name] = zeros(shape);
        c.weight.assign(shape.size(), 1.0);
        for (const layout how : layouts) {
            const policy_result result = run<double>(loss, c, how, shape);
            REQUIRE(result.loss == 0);
            REQUIRE(same_bits(result.gradient, shape));
        }
    }
}

template <class Loss>
void check_no_allocation(const Loss& loss, const policy_loss_traits& traits, dice& d) {
    policy_case c = random_policy_case(d, traits);
    policy_arrays<float> arrays(c, layout::padded);
    ragged<float> gradient(zeros(c.log_prob), layout::padded, 77.0f);
    const auto terms = arrays.terms();
    const auto view = gradient.view();
    REQUIRE(allocations_of([&] { loss(terms, std::span<const double>(arrays.weight), view); }) == 0);
}

/// Every array with a row too few or a token too many is refused by name, with expected and actual size.
template <class Loss>
void check_shape_errors(const Loss& loss, const policy_loss_traits& traits) {
    policy_case c;
    c.log_prob = {{-1, -2}, {}, {-3, -1, -2}};
    for (const std::string& name : traits.needs) c[name] = c.log_prob;
    c.weight = {1, 1, 1};
    const std::string function = "rlgaf::" + traits.function + ": ";
    const auto message = [&](const policy_case& bad, const table& gradient) {
        return message_of<rlgaf::shape_error>([&] { run<double>(loss, bad, layout::padded, gradient); });
    };
    std::vector<std::string> names = traits.needs;
    names.push_back("mask");
    if (traits.prefix == "terms.") names.push_back("token_factor");
    for (const std::string& name : names) {
        policy_case bad = c;
        bad[name] = {{1, 1}, {}};
        REQUIRE(message(bad, c.log_prob) == function + traits.prefix + name + ": expected 3 elements, got 2");
        bad[name] = {{1, 1}, {}, {1, 1, 1, 1}};
        REQUIRE(message(bad, c.log_prob) == function + traits.prefix + name + " row 2: expected 3 tokens, got 4");
    }
    for (const std::string& name : traits.needs) {
        policy_case bad = c;
        bad[name] = {};
        REQUIRE(message(bad, c.log_prob) == function + traits.prefix + name + ": expected 3 elements, got 0");
    }
    policy_case bad = c;
    bad.weight = {1, 1};
    REQUIRE(message(bad, c.log_prob) == function + "row_weight: expected 3 elements, got 2");
    REQUIRE(message(c, {{1, 1}}) == function + traits.gradient + ": expected 3 elements, got 1");
    REQUIRE(message(c, {{1}, {}, {1, 1, 1}}) == function + traits.gradient + " row 0: expected 2 tokens, got 1");
    REQUIRE(message(c, c.log_prob) == "nothing thrown");
}

/// All of the above on random cases. make(dice) gives a loss with random options; near_kink(loss, case, row, token)
/// says where the loss has no derivative.
template <class Make, class NearKink>
void check_policy_loss(const policy_loss_traits& traits, Make&& make, NearKink&& near_kink, std::size_t cases = 3000) {
    dice d(2305 + traits.function.size());
    std::size_t compared = 0;
    for (std::size_t i = 0; i < cases; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        const policy_case c = random_policy_case(d, traits);
        compared += check_slopes(loss, c, traits.by_entropy,
                                 [&](std::size_t b, std::size_t t) { return near_kink(loss, c, b, t); });
        if (i % 10 != 0) continue;
        check_storage(loss, c, d);
        check_rows(loss, c, d);
    }
    REQUIRE(compared > 3 * cases);
    const auto loss = make(d);
    check_nothing_to_learn(loss, traits);
    check_no_allocation(loss, traits, d);
    check_shape_errors(loss, traits);
}
template <class Make>
void check_policy_loss(const policy_loss_traits& traits, Make&& make, std::size_t cases = 3000) {
    check_policy_loss(
        traits, make, [](const auto&...) { return false; }, cases);
}

/// token_factor changes nothing.
template <class Loss>
void check_ignores_factor(const Loss& loss, const policy_loss_traits& traits) {
    dice d(17);
    for (int i = 0; i < 100; ++i) {
        policy_case c = random_policy_case(d, traits);
        const policy_result plain = run(loss, c);
        c.token_factor = table_like(c.log_prob, [&](auto, auto) { return d.uniform(0, 2); });
        const policy_result other = run(loss, c);
        REQUIRE(same_bits(other.loss, plain.loss));
        REQUIRE(same_bits(other.gradient, plain.gradient));
    }
}

}  // namespace rlgaf_test
