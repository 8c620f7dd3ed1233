#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::gae;
using rlgaf::variance_kind;

namespace {

/// The exponentially weighted sum of temporal differences itself, equation 16 of the paper, over the unmasked tokens.
table sums_of_differences(const gae& o, const advantage_case& c) {
    const table value = array_of(c, row_array::value);
    table out(c.shape.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::vector<double> r = paid(c, i), v = unmasked(c, value, i);
        for (std::size_t k = 0; k < r.size(); ++k) {
            out[i].push_back(0);
            for (std::size_t s = k; s < r.size(); ++s) {
                const double next = s + 1 < r.size() ? v[s + 1] : after(c, i);
                out[i][k] +=
                    std::pow(o.discount * o.lambda, static_cast<double>(s - k)) * (r[s] + o.discount * next - v[s]);
            }
        }
    }
    return out;
}
table expected(const with_row_arrays<gae>& made, const advantage_case& c) {
    const table a = sums_of_differences(made.estimator, c);
    return at_unmasked(c, made.estimator.whiten ? whitened(a, made.estimator.variance) : a);
}
gae random_options(dice& d) {
    return {.discount = d.chance(0.3) ? 1 : d.uniform(),
            .lambda = d.chance(0.2) ? 1 : d.uniform(),
            .whiten = d.chance(0.5),
            .variance = d.chance(0.5) ? variance_kind::bessel : variance_kind::biased};
}

/// The sheet's golden vector: three tokens, the reward comes last.
const advantage_case golden{.shape = {{0, 0, 0}}, .outcome = {{1}}, .group = {0}};
const extra_arrays golden_values{.value = {{0.1, 0.2, 0.3}}};

}  // namespace

TEST_CASE("gae keeps the promises of an advantage estimator") {
    check_advantage(
        "gae", [](dice& d) { return with_row_arrays<gae>{random_options(d)}; }, expected);
}

TEST_CASE("gae on three tokens: the formula sheet's golden vectors") {
    const gae raw{.discount = 0.9, .lambda = 0.95, .whiten = false}, white{.discount = 0.9, .lambda = 0.95};
    const actor_critic_result plain = run_with(raw, golden, golden_values),
                              scaled = run_with(white, golden, golden_values);
    REQUIRE(gap(plain.advantage, table{{0.651567, 0.6685, 0.7}}) < 1e-6);
    REQUIRE(gap(plain.returns, table{{0.751567, 0.8685, 1}}) < 1e-6);
    // The sheet adds the peers' 1e-8 to the variance; here nothing is added.
    const double variance = std::pow(spread_of(plain.advantage[0]).deviation, 2);
    const double more = std::sqrt((variance + 1e-8) / variance);
    REQUIRE(gap(scaled.advantage, table{{-0.886466 * more, -0.197561 * more, 1.084027 * more}}) < 1e-6);
    REQUIRE(same_bits(scaled.returns, plain.returns));
    // Biased variance (OpenRLHF): larger by sqrt(3 / 2).
    const gae biased{.discount = 0.9, .lambda = 0.95, .variance = variance_kind::biased};
    const double by = more * std::sqrt(1.5);
    REQUIRE(gap(run_with(biased, golden, golden_values).advantage,
                table{{-0.886466 * by, -0.197561 * by, 1.084027 * by}}) < 2e-6);
}

TEST_CASE("gae's returns are advantage plus value before whitening, in both layouts and storage types") {
    dice d(5);
    for (int n = 0; n < 1000; ++n) {
        CAPTURE(n);
        const gae o = random_options(d);
        const advantage_case c = random_advantage_case(d);
        const table value = array_of(c, row_array::value), gain = at_unmasked(c, sums_of_differences(o, c));
        const table target = table_like(c.shape, [&](std::size_t i, std::size_t t) {
            return included(c.mask, i, t) ? gain[i][t] + value[i][t] : 0;
        });
        const actor_critic_result result = run_with(o, c, {.value = value});
        REQUIRE(gap(result.returns, target) < 1e-10);
        REQUIRE(gap(result.advantage, expected({o}, c)) < 1e-9);
        const actor_critic_result padded = run_with(o, c, {.value = value}, layout::padded);
        REQUIRE(same_bits(padded.returns, result.returns));
        REQUIRE(same_bits(padded.advantage, result.advantage));
        advantage_case rounded = c;
        rounded.token = as_float(c.token);
        REQUIRE(same_bits(run_with<float>(o, rounded, {.value = value}).returns,
                          as_float(run_with(o, rounded, {.value = value}).returns)));
    }
}

TEST_CASE("gae with lambda 1 is reward to go minus value; with lambda 0 one temporal difference") {
    const advantage_case c{.shape = {{0, 0, 0}}, .token = {{1, 2, 4}}, .bootstrap = {8}, .group = {0}};
    const extra_arrays values{.value = {{10, 20, 30}}};
    const auto a = [&](double lambda) {
        return run_with(gae{.discount = 0.5, .lambda = lambda, .whiten = false}, c, values).advantage;
    };
    REQUIRE(gap(a(1), table{{4 - 10, 6 - 20, 8 - 30}}) < 1e-14);
    REQUIRE(gap(a(0), table{{1 + 10 - 10, 2 + 15 - 20, 4 + 4 - 30}}) < 1e-14);
    // Without a critic it is reinforce without a baseline.
    dice d(6);
    for (int n = 0; n < 200; ++n) {
        const advantage_case random = random_advantage_case(d);
        const rlgaf::reinforce plain{.baseline = rlgaf::reinforce_baseline::none, .discount = 0.7};
        const gae o{.discount = 0.7, .lambda = 1, .whiten = false};
        REQUIRE(gap(run_with(o, random, {.value = zeros(random.shape)}).advantage, run(plain, random).advantage) <
                1e-12);
    }
}

TEST_CASE("gae: a hole in the mask costs neither discount nor lambda, and its value is never used") {
    const gae o{.discount = 0.9, .lambda = 0.95, .whiten = false};
    const advantage_case holes{.shape = {{0, 0, 0, 0, 0, 0}},
                               .outcome = {{1}},
                               .token = {{0, not_a_number, not_a_number, 0, 0, not_a_number}},
                               .mask = {{1, 0, 0, 1, 1, 0}},
                               .group = {0}};
    const extra_arrays values{.value = {{0.1, not_a_number, not_a_number, 0.2, 0.3, not_a_number}}};
    const actor_critic_result result = run_with(o, holes, values);
    REQUIRE(gap(result.advantage, table{{0.651567, 0, 0, 0.6685, 0.7, 0}}) < 1e-6);
    REQUIRE(gap(result.returns, table{{0.751567, 0, 0, 0.8685, 1, 0}}) < 1e-6);
}

TEST_CASE("gae: a truncated row goes on with the value after it, a finished one with 0") {
    advantage_case c{.shape = {{0}, {0}}, .outcome = {{1, 1}}, .bootstrap = {0.5, 0}, .group = {0, 0}};
    const gae o{.discount = 0.9, .whiten = false};
    REQUIRE(gap(run_with(o, c, {.value = {{0.2}, {0.2}}}).advantage, table{{1 + 0.45 - 0.2}, {1 - 0.2}}) < 1e-15);
}

TEST_CASE("gae: a row without a reward gets 0, is in no mean, and its critic is left alone") {
    const advantage_case c{.shape = {{0, 0}, {0}, {0}}, .outcome = {{not_a_number, 1, 3}}, .group = {0, 0, 0}};
    const actor_critic_result result = run_with(gae{}, c, {.value = {{5, 6}, {0.5}, {0.5}}});
    REQUIRE(gap(result.advantage, table{{0, 0}, {-std::sqrt(0.5)}, {std::sqrt(0.5)}}) < 1e-12);
    REQUIRE(gap(result.returns, table{{5, 6}, {1}, {3}}) < 1e-15);
}

TEST_CASE("gae: what is whitened and all equal, or alone, becomes exactly 0") {
    for (const double r : {17.3, 0.1, -5.7, static_cast<double>(0.1f)})
        for (const std::size_t rows : {1u, 2u, 7u, 64u}) {
            const advantage_case c = one_token_rows(std::vector<double>(rows, r));
            const extra_arrays values{.value = table(rows, {0.1})};
            for (const variance_kind kind : {variance_kind::bessel, variance_kind::biased}) {
                const actor_critic_result result = run_with(gae{.variance = kind}, c, values);
                REQUIRE(same_bits(result.advantage, zeros(c.shape)));
                REQUIRE(gap(result.returns, table(rows, {r})) < 1e-14);
                REQUIRE(result.stats.constant_groups == 1);
            }
            REQUIRE(gap(run_with(gae{.whiten = false}, c, values).advantage, table(rows, {r - 0.1})) < 1e-14);
        }
}

TEST_CASE("gae: no rows, empty rows, masked rows") {
    for (const table& shape : {table{}, table{{}, {}}, table{{0, 0}, {}}}) {
        advantage_case c{.shape = shape, .outcome = {{}}, .mask = zeros(shape)};
        c.outcome[0].assign(shape.size(), 3.0);
        c.group.assign(shape.size(), 0);
        const table value = table_like(shape, [](auto, auto) { return not_a_number; });
        const actor_critic_result result = run_with(gae{}, c, {.value = value});
        REQUIRE(same_bits(result.advantage, zeros(shape)));
        REQUIRE(same_bits(result.returns, zeros(shape)));
        REQUIRE(result.stats.constant_groups == 0);
    }
}

TEST_CASE("gae refuses options and arrays out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(gae{.discount = x}, "gae", "discount"));
        REQUIRE(refuses(gae{.lambda = x}, "gae", "lambda"));
        REQUIRE_THROWS_AS(run_with(gae{.lambda = x}, golden, golden_values), rlgaf::option_error);
    }
    REQUIRE_NOTHROW(gae{.discount = 0, .lambda = 0}.check());
    const auto message = [](const advantage_case& c, const extra_arrays& x) {
        return message_of<rlgaf::shape_error>([&] { run_with(gae{}, c, x); });
    };
    REQUIRE(message(golden, {}) == "rlgaf::gae: terms.value: expected 1 elements, got 0");
    REQUIRE(message(golden, {.value = {{1, 2}}}) == "rlgaf::gae: terms.value row 0: expected 3 tokens, got 2");
    advantage_case c = golden;
    c.bootstrap = {1, 2};
    REQUIRE(message(c, golden_values) == "rlgaf::gae: terms.reward.bootstrap: expected 1 elements, got 2");

    advantage_arrays<double> arrays(golden, layout::padded);
    ragged<double> value(golden_values.value, layout::padded, 0.0), returns({{1, 2, 3, 4}}, layout::padded, 0.0);
    auto terms = arrays.terms();
    terms.value = value.view();
    rlgaf::workspace work;
    REQUIRE(message_of<rlgaf::shape_error>([&] { gae{}(terms, work, arrays.advantage.view(), returns.view()); }) ==
            "rlgaf::gae: returns row 0: expected 3 tokens, got 4");
}
