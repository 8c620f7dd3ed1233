#include "rlgaf/core/scalar.hpp"
#include "rlgaf/preference/sqil.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::sqil;
using rlgaf::sqil_end;
using rlgaf::sqil_stats;

namespace {

/// The inputs of one call. Empty: not given.
struct sqil_case {
    table log_prob{}, log_normalizer{}, target{}, mask{};
    std::vector<std::uint8_t> expert{}, truncated{};
    std::vector<double> bootstrap{};
};
struct sqil_result {
    sqil_stats stats;
    table d_log_prob, d_log_normalizer;
};

template <class T>
struct sqil_arrays {
    ragged<T> log_prob, log_normalizer, target;
    ragged<std::uint8_t> mask;
    const sqil_case& c;

    sqil_arrays(const sqil_case& from, layout how)
        : log_prob(from.log_prob, how, static_cast<T>(not_a_number)),
          log_normalizer(from.log_normalizer, how, static_cast<T>(not_a_number)),
          target(from.target, how, static_cast<T>(not_a_number)),
          mask(from.mask, how, 1),
          c(from) {}
    rlgaf::sqil_terms<T> terms() {
        return {log_prob.view(), log_normalizer.view(), c.expert, c.truncated, c.bootstrap, target.view(), mask.view()};
    }
};

template <class T = double>
sqil_result run(const sqil& loss, const sqil_case& c, layout how, const table& start) {
    sqil_arrays<T> arrays(c, how);
    ragged<T> d(start, how, T{77}), d_normalizer(start, how, T{77});
    const sqil_stats stats = loss(arrays.terms(), d.view(), d_normalizer.view());
    REQUIRE((d.guards_intact() && d_normalizer.guards_intact()));
    return {stats, d.rows(), d_normalizer.rows()};
}
template <class T = double>
sqil_result run(const sqil& loss, const sqil_case& c, layout how = layout::packed) {
    return run<T>(loss, c, how, zeros(c.log_prob));
}

sqil_case random_case(dice& d) {
    sqil_case c;
    const table shape = random_shape(d, 6, 6);
    const double spread = d.chance(0.2) ? 10 : 1;
    c.log_prob = table_like(shape, [&](auto, auto) { return d.uniform(-4, 0); });
    c.log_normalizer = table_like(shape, [&](auto, auto) { return spread * d.normal(); });
    c.mask = random_mask(d, shape);
    for (std::size_t b = 0; b < shape.size(); ++b) {
        c.expert.push_back(d.chance(0.5));
        c.truncated.push_back(d.chance(0.4));
        c.bootstrap.push_back(d.chance(0.5) ? not_a_number : d.normal());
    }
    if (d.chance(0.3)) c.bootstrap.clear();
    if (d.chance(0.2)) c.truncated.clear();
    return c;
}
sqil random_options(dice& d) {
    return {.alpha = d.uniform(0.1, 2),
            .discount = d.chance(0.2) ? 1 : d.uniform(0, 1),
            .residual_gradient = d.chance(0.5),
            .end = d.chance(0.5) ? sqil_end::zero : sqil_end::absorbing,
            .expert_reward = d.chance(0.5) ? 1 : d.normal(),
            .policy_reward = d.chance(0.5) ? 0 : d.normal(),
            .policy_weight = d.chance(0.5) ? 1 : d.uniform(0, 2)};
}

/// Straight from the definition, a list of transitions; V of next states from `next`.
sqil_stats by_definition(const sqil& o, const sqil_case& c, const table& next) {
    double sum[2] = {}, reward[2] = {}, count[2] = {};
    const double m = o.end == sqil_end::absorbing
                         ? (o.expert_reward + o.policy_weight * o.policy_reward) / (1 + o.policy_weight)
                         : 0;
    for (std::size_t b = 0; b < c.log_prob.size(); ++b) {
        std::vector<std::size_t> at;
        for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
            if (included(c.mask, b, t)) at.push_back(t);
        const bool cut = !c.truncated.empty() && c.truncated[b];
        for (std::size_t k = 0; k < at.size(); ++k) {
            double after = 0;
            if (k + 1 < at.size())
                after = o.alpha * next[b][at[k + 1]];
            else if (cut && (c.bootstrap.empty() || std::isnan(c.bootstrap[b])))
                continue;
            else if (cut)
                after = c.bootstrap[b];
            const std::size_t side = c.expert[b];
            const double implied =
                o.alpha * (c.log_prob[b][at[k]] + c.log_normalizer[b][at[k]]) - o.discount * after + m;
            const double delta = implied - (side == 1 ? o.expert_reward : o.policy_reward);
            sum[side] += delta * delta, reward[side] += implied, count[side] += 1;
        }
    }
    const auto mean = [&](const double* x, int side) { return count[side] > 0 ? x[side] / count[side] : 0; };
    return {mean(sum, 1) + o.policy_weight * mean(sum, 0), mean(reward, 1), mean(reward, 0), count[1], count[0]};
}
void require_close(const sqil_stats& a, const sqil_stats& b, double tolerance) {
    REQUIRE(gap(a.loss, b.loss) < tolerance * (1 + std::abs(b.loss)));
    REQUIRE(gap(a.expert_reward, b.expert_reward) < tolerance * (1 + std::abs(b.expert_reward)));
    REQUIRE(gap(a.policy_reward, b.policy_reward) < tolerance * (1 + std::abs(b.policy_reward)));
    REQUIRE((a.expert_steps == b.expert_steps && a.policy_steps == b.policy_steps));
}

}  // namespace

TEST_CASE("sqil by hand: one demonstration of two tokens, one row of the policy, both forms") {
    // alpha 2: Q = 2 (-1 + 0.5) = -1 and 2 (-0.5 + 1) = 1, V of the second state 2; discount 1/2.
    const sqil_case c{{{-1, -0.5}, {-1}}, {{0.5, 1}, {1}}, {}, {}, {1, 0}, {}, {}};
    sqil o{.alpha = 2, .discount = 0.5, .end = sqil_end::zero};
    // deltas: -1 - (1 + 1) = -3, 1 - 1 = 0; the policy's: 0 - 0 = 0.
    const sqil_result semi = run(o, c);
    REQUIRE(gap(semi.stats.loss, 4.5) < 1e-15);
    REQUIRE(gap(semi.stats.expert_reward, (-2.0 + 1) / 2) < 1e-15);
    REQUIRE(semi.stats.policy_reward == 0);
    REQUIRE(gap(semi.d_log_prob, table{{-6, 0}, {0}}) < 1e-15);  // 2 * 1/2 * 2 * -3
    REQUIRE(gap(semi.d_log_normalizer, table{{-6, 0}, {0}}) < 1e-15);
    o.residual_gradient = true;
    const sqil_result full = run(o, c);
    REQUIRE(gap(full.d_log_prob, table{{-6, 0}, {0}}) < 1e-15);
    REQUIRE(gap(full.d_log_normalizer, table{{-6, 3}, {0}}) < 1e-15);
    // Absorbing: 1/2 off every reward.
    o.end = sqil_end::absorbing;
    REQUIRE(gap(run(o, c).stats.loss, (2.5 * 2.5 + 0.5 * 0.5) / 2 + 0.5 * 0.5) < 1e-15);
    REQUIRE(gap(run(o, c).stats.policy_reward, 0.5) < 1e-15);
}

TEST_CASE("sqil at the end of a row: nothing, a bootstrap, or one step fewer") {
    sqil_case c{{{-1, -0.5}}, {{0.5, 1}}, {}, {}, {1}, {1}, {}};
    const sqil o{.alpha = 2, .discount = 0.5, .end = sqil_end::zero};
    REQUIRE((run(o, c).stats.expert_steps == 1 && gap(run(o, c).stats.loss, 9) < 1e-15));
    c.bootstrap = {not_a_number};
    REQUIRE(run(o, c).stats.expert_steps == 1);
    c.bootstrap = {4};  // 1 - (1 + 2) = -2
    REQUIRE(gap(run(o, c).stats.loss, (9.0 + 4) / 2) < 1e-15);
    c.truncated = {0};  // not looked at
    REQUIRE(gap(run(o, c).stats.loss, 4.5) < 1e-15);
}

TEST_CASE("sqil is its definition on random rows; its gradients are slopes, with V of the next state fixed or not") {
    dice d(1905);
    std::size_t compared = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const sqil o = random_options(d);
        sqil_case c = random_case(d);
        const sqil_result r = run(o, c);
        require_close(r.stats, by_definition(o, c, c.log_normalizer), 1e-12);
        const table fixed = c.log_normalizer;
        const auto value = [&] { return by_definition(o, c, o.residual_gradient ? c.log_normalizer : fixed).loss; };
        const double size = 1 + std::abs(r.stats.loss);
        for (std::size_t b = 0; b < fixed.size(); ++b)
            for (std::size_t t = 0; t < fixed[b].size(); ++t, ++compared) {
                REQUIRE(gap(slope(value, c.log_prob[b][t]), r.d_log_prob[b][t]) < 1e-8 * size);
                REQUIRE(gap(slope(value, c.log_normalizer[b][t]), r.d_log_normalizer[b][t]) < 1e-8 * size);
            }
        if (o.residual_gradient) continue;
        sqil_case targeted = c;  // the policy's own V as another's
        targeted.target = fixed;
        REQUIRE(same_bits(run(o, targeted).d_log_normalizer, r.d_log_normalizer));
        targeted.target = table_like(fixed, [&](auto, auto) { return d.normal(); });
        require_close(run(o, targeted).stats, by_definition(o, targeted, targeted.target), 1e-12);
    }
    REQUIRE(compared > 10000);
}

TEST_CASE("sqil: storage, masks, what is there already, and the order of rows do not matter") {
    dice d(1906);
    for (int i = 0; i < 500; ++i) {
        CAPTURE(i);
        const sqil o = random_options(d);
        sqil_case c = random_case(d);
        for (table* x : {&c.log_prob, &c.log_normalizer}) *x = as_float(*x);
        const sqil_result plain = run(o, c);
        for (const layout how : layouts) {
            const sqil_result wide = run(o, c, how), narrow = run<float>(o, c, how);
            REQUIRE((same_bits(wide.stats.loss, plain.stats.loss) && same_bits(narrow.stats.loss, plain.stats.loss)));
            REQUIRE(same_bits(wide.d_log_prob, plain.d_log_prob));
            REQUIRE(same_bits(wide.d_log_normalizer, plain.d_log_normalizer));
            REQUIRE(same_bits(narrow.d_log_prob, as_float(plain.d_log_prob)));
            REQUIRE(same_bits(narrow.d_log_normalizer, as_float(plain.d_log_normalizer)));
        }
        sqil_case spoiled = c;
        for (table* x : {&spoiled.log_prob, &spoiled.log_normalizer})
            *x = table_like(*x, [&](auto b, auto t) { return included(c.mask, b, t) ? (*x)[b][t] : not_a_number; });
        const table start =
            table_like(c.log_prob, [&](auto b, auto t) { return included(c.mask, b, t) ? d.normal() : not_a_number; });
        const sqil_result added = run(o, spoiled, layout::padded, start);
        REQUIRE(same_bits(added.stats.loss, plain.stats.loss));
        const auto sum = [&](const table& x) {
            return table_like(
                start, [&](auto b, auto t) { return included(c.mask, b, t) ? start[b][t] + x[b][t] : start[b][t]; });
        };
        REQUIRE(same_bits(added.d_log_prob, sum(plain.d_log_prob)));
        REQUIRE(same_bits(added.d_log_normalizer, sum(plain.d_log_normalizer)));

        const auto order = d.permutation(c.log_prob.size());
        const sqil_result other = run(o, {permuted(c.log_prob, order),
                                          permuted(c.log_normalizer, order),
                                          {},
                                          permuted(c.mask, order),
                                          permuted(c.expert, order),
                                          permuted(c.truncated, order),
                                          permuted(c.bootstrap, order)});
        require_close(other.stats, plain.stats, 1e-12);
        REQUIRE(same_bits(other.d_log_prob, permuted(plain.d_log_prob, order)));
        REQUIRE(same_bits(other.d_log_normalizer, permuted(plain.d_log_normalizer, order)));
    }
}

TEST_CASE("sqil: an absorbing end is V = m / (1 - discount) in Q's that are higher by it; a tool's turn is no step") {
    dice d(1907);
    for (int i = 0; i < 300; ++i) {
        sqil_case c = random_case(d);
        c.bootstrap.clear();
        const double discount = d.uniform(0, 0.95), worth = 0.5 / (1 - discount);
        const sqil_result counted = run(sqil{.alpha = 0.5, .discount = discount}, c);
        // By hand: every Q and V higher by what the absorbing state is worth, rewards 1 and 0, V = worth at the end.
        sqil_case high = c;
        for (auto& row : high.log_normalizer)
            for (double& v : row) v += worth / 0.5;
        high.truncated.assign(c.expert.size(), 1);
        for (std::size_t b = 0; b < c.expert.size(); ++b)
            high.bootstrap.push_back(!c.truncated.empty() && c.truncated[b] ? not_a_number : worth);
        const sqil_result absolute = run(sqil{.alpha = 0.5, .discount = discount, .end = sqil_end::zero}, high);
        require_close(absolute.stats, counted.stats, 1e-10);
        REQUIRE(gap(absolute.d_log_normalizer, counted.d_log_normalizer) < 1e-9);

        // Masked tokens between two actions: as if they were not there.
        sqil_case longer = c;
        longer.mask = table_like(c.log_prob, [&](auto b, auto t) { return included(c.mask, b, t) ? 1.0 : 0.0; });
        for (std::size_t b = 0; b < c.log_prob.size(); ++b) {
            const auto at = static_cast<std::ptrdiff_t>(d.below(c.log_prob[b].size() + 1));
            for (table* x : {&longer.log_prob, &longer.log_normalizer})
                (*x)[b].insert((*x)[b].begin() + at, 2, not_a_number);
            longer.mask[b].insert(longer.mask[b].begin() + at, 2, 0.0);
        }
        REQUIRE(same_bits(run(sqil{}, longer).stats.loss, run(sqil{}, c).stats.loss));
    }
}

TEST_CASE("sqil: rows without steps, one side only, numbers of 1e4; it allocates nothing") {
    const sqil o{.alpha = 1, .discount = 1, .residual_gradient = true, .end = sqil_end::zero};
    REQUIRE(run(o, sqil_case{}).stats.loss == 0);
    const sqil_case none{{{}, {-1, -1}, {-1}}, {{}, {1, 1}, {1}}, {}, {{}, {0, 0}, {1}}, {1, 1, 0}, {0, 0, 1}, {}};
    const sqil_result nothing = run(o, none);
    REQUIRE((nothing.stats.loss == 0 && nothing.stats.expert_steps == 0 && nothing.stats.policy_steps == 0));
    REQUIRE(gap(nothing.d_log_normalizer, zeros(none.log_prob)) == 0);
    for (const std::uint8_t side : {std::uint8_t{0}, std::uint8_t{1}}) {
        const sqil_result one = run(o, {{{-1}}, {{3}}, {}, {}, {side}, {}, {}});
        REQUIRE(gap(one.stats.loss, side == 1 ? 1 : 4) < 1e-15);
        REQUIRE(gap(one.d_log_prob, table{{side == 1 ? 2.0 : 4.0}}) < 1e-15);
    }
    const sqil_result far = run(o, {{{-1e4, -200}}, {{1e4, -1e4}}, {}, {}, {0}, {}, {}});
    REQUIRE(gap(far.stats.loss, (1e4 * 1e4 + 10200.0 * 10200.0) / 2) < 1e-3);
    REQUIRE(gap(far.d_log_normalizer, table{{1e4, -10200 - 1e4}}) < 1e-9);

    const sqil_case c{{{-1, -2}, {-1}}, {{0, 1}, {0}}, {}, {}, {1, 0}, {}, {}};
    sqil_arrays<float> arrays(c, layout::padded);
    ragged<float> a(zeros(c.log_prob), layout::padded, 0.0f), b = a;
    const auto terms = arrays.terms();
    const auto first = a.view(), second = b.view();
    REQUIRE(allocations_of([&] { o(terms, first, second); }) == 0);
}

TEST_CASE("sqil refuses shapes and options by name") {
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(sqil{.alpha = x}, "sqil", "alpha"));
    for (const double x : {-0.1, 1.1, not_a_number}) REQUIRE(refuses(sqil{.discount = x}, "sqil", "discount"));
    for (const double x : {infinity, not_a_number}) {
        REQUIRE(refuses(sqil{.expert_reward = x}, "sqil", "expert_reward"));
        REQUIRE(refuses(sqil{.policy_reward = x}, "sqil", "policy_reward"));
    }
    for (const double x : {-1.0, infinity, not_a_number})
        REQUIRE(refuses(sqil{.policy_weight = x}, "sqil", "policy_weight"));
    const sqil_case good{{{-1, -2}, {-1}}, {{0, 1}, {0}}, {}, {}, {1, 0}, {}, {}};
    const auto message = [&](auto&& spoil) {
        sqil_case bad = good;
        spoil(bad);
        return message_of<rlgaf::shape_error>([&] { run(sqil{}, bad); });
    };
    REQUIRE(message([](sqil_case&) {}) == "nothing thrown");
    REQUIRE(message([](sqil_case& c) {
                c.log_normalizer = {{0, 1}};
            }) == "rlgaf::sqil: terms.log_normalizer: expected 2 elements, got 1");
    REQUIRE(message([](sqil_case& c) { c.expert = {1}; }) == "rlgaf::sqil: terms.expert: expected 2 elements, got 1");
    REQUIRE(message([](sqil_case& c) { c.truncated = {1}; }) ==
            "rlgaf::sqil: terms.truncated: expected 2 elements, got 1");
    REQUIRE(message([](sqil_case& c) { c.bootstrap = {1}; }) ==
            "rlgaf::sqil: terms.bootstrap: expected 2 elements, got 1");
    REQUIRE(message([](sqil_case& c) {
                c.mask = {{1, 1}, {1, 1}};
            }) == "rlgaf::sqil: terms.mask row 1: expected 1 tokens, got 2");
    REQUIRE(message([](sqil_case& c) {
                c.target = {{1, 1}, {1, 1}};
            }) == "rlgaf::sqil: terms.target_log_normalizer row 1: expected 1 tokens, got 2");
    sqil_case targeted = good;
    targeted.target = good.log_normalizer;
    REQUIRE(message_of<rlgaf::option_error>([&] {
                run(sqil{.residual_gradient = true}, targeted);
            }).starts_with("rlgaf::sqil: .residual_gradient: expected off where"));
}
