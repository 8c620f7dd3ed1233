#pragma once
/// What every component that multiplies into token_factor owes: see check_factor.
#include <string>
#include <vector>

#include "rlgaf/policy_gradient/token_factor.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

namespace rlgaf_test {

/// The inputs of one call, and what is in token_factor before it. An empty table is an array that is not given.
struct factor_case {
    table log_prob{}, old_log_prob{}, behaviour_log_prob{}, advantage{}, entropy{}, mask{}, factor{};

    table& operator[](const std::string& name) {
        if (name == "log_prob") return log_prob;
        if (name == "old_log_prob") return old_log_prob;
        if (name == "behaviour_log_prob") return behaviour_log_prob;
        if (name == "advantage") return advantage;
        return name == "entropy" ? entropy : mask;
    }
    std::vector<table*> tables() {
        return {&log_prob, &old_log_prob, &behaviour_log_prob, &advantage, &entropy, &mask, &factor};
    }
};

template <class T>
struct factor_arrays {
    ragged<T> log_prob, old_log_prob, behaviour_log_prob, advantage, entropy, factor;
    ragged<std::uint8_t> mask;

    factor_arrays(const factor_case& c, layout how)
        : log_prob(c.log_prob, how, static_cast<T>(not_a_number)),
          old_log_prob(c.old_log_prob, how, static_cast<T>(not_a_number)),
          behaviour_log_prob(c.behaviour_log_prob, how, static_cast<T>(not_a_number)),
          advantage(c.advantage, how, static_cast<T>(not_a_number)),
          entropy(c.entropy, how, static_cast<T>(not_a_number)),
          factor(c.factor, how, T{77}),
          mask(c.mask, how, 1) {}

    rlgaf::factor_terms<T> terms() {
        return {log_prob.view(),  old_log_prob.view(), behaviour_log_prob.view(),
                advantage.view(), entropy.view(),      mask.view()};
    }
};

/// The factors after the call; its statistics go to *stats.
template <class T = double, class Component, class Stats = char>
table run(const Component& component, const factor_case& c, layout how = layout::packed, Stats* stats = nullptr) {
    factor_arrays<T> arrays(c, how);
    rlgaf::workspace work;
    work.a = work.b = work.c = work.d = work.e = {1e12, 1e12, 1e12};  // what another component left there
    const auto result = component(arrays.terms(), work, arrays.factor.view());
    REQUIRE(arrays.factor.guards_intact());
    if constexpr (!std::is_same_v<Stats, char>) *stats = result;
    return arrays.factor.rows();
}
template <class Component>
auto stats_of(const Component& component, const factor_case& c) {
    factor_arrays<double> arrays(c, layout::packed);
    rlgaf::workspace work;
    return component(arrays.terms(), work, arrays.factor.view());
}
/// A single row, with factors of 1.
inline factor_case one_row(const std::vector<double>& old, const std::vector<double>& behaviour) {
    return {.old_log_prob = {old}, .behaviour_log_prob = {behaviour}, .factor = {std::vector<double>(old.size(), 1)}};
}

/// Log-probs of three policies that are close to each other, now and then far apart; ties among the entropies.
inline factor_case random_factor_case(dice& d, const std::vector<std::string>& needs) {
    factor_case c;
    const table shape = random_shape(d, 6, 6);
    const double width = d.chance(0.3) ? 3 : 0.2;
    const table base = table_like(shape, [&](auto, auto) { return d.uniform(-4, 0); });
    for (const std::string& name : needs)
        c[name] = table_like(shape, [&](auto b, auto t) {
            if (name == "advantage") return d.chance(0.1) ? 0 : d.normal();
            if (name == "entropy") return d.chance(0.5) ? d.uniform(0, 3) : static_cast<double>(d.below(3));
            return base[b][t] + width * (d.chance(0.03) ? 30 * d.normal() : d.normal());
        });
    c.mask = random_mask(d, shape);
    c.factor = table_like(shape, [&](auto, auto) { return d.chance(0.1) ? 0.0 : d.uniform(0, 2); });
    return c;
}

/// Layouts, float, masked NaN, order of rows, a second call.
template <class Component>
void check_factor_storage(const Component& component, const factor_case& c, dice& d) {
    const table plain = run(component, c);
    REQUIRE(same_bits(run(component, c, layout::padded), plain));

    factor_case rounded = c;
    for (table* x : rounded.tables()) *x = as_float(*x);
    const table wide = run(component, rounded);
    for (const layout how : layouts) {
        const table narrow = run<float>(component, rounded, how);
        REQUIRE(gap(narrow, wide) < 1e-4 * (1 + gap(wide, zeros(wide))));
    }

    factor_case spoiled = c;
    if (!c.mask.empty())
        for (table* x : spoiled.tables())
            if (x != &spoiled.mask && !x->empty())
                *x = table_like(*x, [&](auto b, auto t) { return included(c.mask, b, t) ? (*x)[b][t] : not_a_number; });
    for (const layout how : layouts)
        REQUIRE(same_bits(run(component, spoiled, how), table_like(plain, [&](auto b, auto t) {
                              return included(c.mask, b, t) ? plain[b][t] : not_a_number;
                          })));

    const std::vector<std::size_t> order = d.permutation(c.factor.size());
    factor_case shuffled = c;
    for (table* x : shuffled.tables()) *x = permuted(*x, order);
    REQUIRE(gap(run(component, shuffled), permuted(plain, order)) < 1e-12 * (1 + gap(plain, zeros(plain))));
}

template <class Component>
void check_factor_shape_errors(const Component& component, const std::string& name,
                               const std::vector<std::string>& needs) {
    factor_case good{.mask = {{1, 1}, {}, {1, 1, 1}}, .factor = {{1, 1}, {}, {1, 1, 1}}};
    for (const std::string& array : needs) good[array] = good.factor;
    const auto message = [&](const factor_case& c) {
        return message_of<rlgaf::shape_error>([&] { run(component, c, layout::padded); });
    };
    REQUIRE(message(good) == "nothing thrown");
    std::vector<std::string> all = needs;
    all.push_back("mask");
    for (const std::string& array : all) {
        factor_case bad = good;
        bad[array] = {{1, 1}, {}};
        REQUIRE(message(bad) == "rlgaf::" + name + ": terms." + array + ": expected 3 elements, got 2");
        bad[array] = {{1, 1}, {}, {1}};
        REQUIRE(message(bad) == "rlgaf::" + name + ": terms." + array + " row 2: expected 3 tokens, got 1");
        bad[array] = {};
        if (array != "mask")
            REQUIRE(message(bad) == "rlgaf::" + name + ": terms." + array + ": expected 3 elements, got 0");
    }
}

/// Random cases against weight(component, case), an independent way to what each factor is multiplied by; then
/// storage, nothing to weigh, allocations and shape errors.
template <class Make, class Weight>
void check_factor(const std::string& name, const std::vector<std::string>& needs, Make&& make, Weight&& weight,
                  std::size_t cases = 3000) {
    dice d(2501 + name.size());
    for (std::size_t i = 0; i < cases; ++i) {
        CAPTURE(i);
        const auto component = make(d);
        const factor_case c = random_factor_case(d, needs);
        const table w = weight(component, c), result = run(component, c);
        double worst = 0;
        for (std::size_t b = 0; b < w.size(); ++b)
            for (std::size_t t = 0; t < w[b].size(); ++t) {
                const double expected = included(c.mask, b, t) ? c.factor[b][t] * w[b][t] : c.factor[b][t];
                worst = std::fmax(worst, gap(result[b][t], expected) / (1 + std::abs(expected)));
            }
        REQUIRE(worst < 1e-9);
        if (i % 10 == 0) check_factor_storage(component, c, d);
    }
    for (const table& nothing : {table{}, table{{}, {}}, table{{1, 2}, {3}}}) {
        factor_case c{.mask = zeros(nothing), .factor = nothing};
        for (const std::string& array : needs) c[array] = nothing;
        for (const layout how : layouts) REQUIRE(same_bits(run(make(d), c, how), nothing));
    }
    for (int i = 0; i < 20; ++i) {
        const auto component = make(d);
        factor_arrays<float> arrays(random_factor_case(d, needs), layout::padded);
        rlgaf::workspace work;
        const auto terms = arrays.terms();
        const auto view = arrays.factor.view();
        component(terms, work, view);
        REQUIRE(allocations_of([&] { component(terms, work, view); }) == 0);
    }
    check_factor_shape_errors(make(d), name, needs);
}

}  // namespace rlgaf_test
