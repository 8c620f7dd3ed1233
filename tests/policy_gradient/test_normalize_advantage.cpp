#include "rlgaf/policy_gradient/normalize_advantage.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::normalize_advantage;
using rlgaf::variance_kind;

namespace {
template <class T = double>
table run(const normalize_advantage& o, const table& x, const table& mask = {}, layout how = layout::packed) {
    ragged<T> a(x, how, T{77});
    ragged<std::uint8_t> m(mask, how, 1);
    o(a.view(), m.view());
    REQUIRE(a.guards_intact());
    return a.rows();
}
}  // namespace

TEST_CASE("normalize_advantage by hand, with cleanrl's epsilon and without") {
    // Mean 2.5, squares 5: deviation with Bessel sqrt(5 / 3).
    const table x = {{1, 2}, {3, 4}};
    const double by = std::sqrt(5.0 / 3);
    REQUIRE(gap(run({}, x), table{{-1.5 / by, -0.5 / by}, {0.5 / by, 1.5 / by}}) < 1e-15);
    REQUIRE(gap(run({.epsilon = 0.5}, x)[1][1], 1.5 / (by + 0.5)) < 1e-15);
    REQUIRE(gap(run({.variance = variance_kind::biased}, x)[1][1], 1.5 / std::sqrt(1.25)) < 1e-15);
    REQUIRE(gap(run({.keep_mean = true}, x)[0][0], 1 / by) < 1e-15);
    ragged<double> a(x, layout::packed, 0.0), b(x, layout::packed, 0.0);
    const rlgaf::moments before = rlgaf::normalize_minibatch(a.view(), {});
    REQUIRE(before.mean == 2.5);
    REQUIRE(before.count == 4);
    normalize_advantage{}(b.view(), {});
    REQUIRE(same_bits(a.rows(), b.rows()));
}

TEST_CASE("normalize_advantage leaves mean 0 and deviation 1 on unmasked tokens, and the others alone") {
    dice d(71);
    for (int i = 0; i < 2000; ++i) {
        CAPTURE(i);
        const normalize_advantage o{.keep_mean = d.chance(0.3),
                                    .epsilon = d.chance(0.5) ? 0 : d.uniform(0, 0.1),
                                    .variance = d.chance(0.5) ? variance_kind::bessel : variance_kind::biased};
        const table shape = random_shape(d, 5, 6), mask = random_mask(d, shape);
        const double center = d.chance(0.3) ? 100 : 0;
        table x = table_like(shape, [&](auto, auto) { return center + d.normal(); });
        double n = 0, sum = 0, squares = 0;
        const auto each = [&](auto&& f) {
            for (std::size_t b = 0; b < x.size(); ++b)
                for (std::size_t t = 0; t < x[b].size(); ++t)
                    if (included(mask, b, t)) f(b, t);
        };
        each([&](auto b, auto t) { n += 1, sum += x[b][t]; });
        const double mean = sum / n;
        each([&](auto b, auto t) { squares += (x[b][t] - mean) * (x[b][t] - mean); });
        const double deviation = std::sqrt(squares / (o.variance == variance_kind::bessel ? n - 1 : n));
        table expected = x;
        each([&](auto b, auto t) {
            expected[b][t] =
                n < 2 ? (o.keep_mean ? x[b][t] : 0) : (x[b][t] - (o.keep_mean ? 0 : mean)) / (deviation + o.epsilon);
        });
        x = table_like(x, [&](auto b, auto t) { return included(mask, b, t) ? x[b][t] : not_a_number; });
        const table got = run(o, x, mask);
        for (const layout how : layouts) REQUIRE(same_bits(run(o, x, mask, how), got));
        each([&](auto b, auto t) { REQUIRE(gap(got[b][t], expected[b][t]) < 1e-9); });
        for (std::size_t b = 0; b < x.size(); ++b)
            for (std::size_t t = 0; t < x[b].size(); ++t)
                if (!included(mask, b, t)) REQUIRE(std::isnan(got[b][t]));
        const table single = run<float>(o, as_float(x), mask), both = run(o, as_float(x), mask);
        each([&](auto b, auto t) { REQUIRE(gap(single[b][t], both[b][t]) < 2e-5 * (1 + std::abs(both[b][t]))); });
    }
}

TEST_CASE("normalize_advantage: equal advantages and a single one become 0, or stay with keep_mean; no tokens") {
    for (const double v : {0.1, 17.3, -5.7, 1e4 + 0.1, 0.0}) {
        REQUIRE(run({}, table(2, std::vector<double>(4, v))) == table(2, std::vector<double>(4, 0.0)));
        REQUIRE(run({}, {{v}}) == table{{0}});
        REQUIRE(run({.keep_mean = true}, {{v, v}, {v}}) == table{{v, v}, {v}});
        REQUIRE(run<float>({}, table(2, std::vector<double>(4, v))) == table(2, std::vector<double>(4, 0.0)));
    }
    REQUIRE(run({}, {}).empty());
    REQUIRE(run({}, {{}, {}}) == table{{}, {}});
    REQUIRE(run({}, {{1, 2}}, {{0, 0}}) == table{{1, 2}});
    REQUIRE(gap(run({}, {{1e4, -1e4, 1e4, -1e4}}), table{{1, -1, 1, -1}}) < 0.2);
}

TEST_CASE("normalize_advantage refuses shapes and options by name, and allocates nothing") {
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(normalize_advantage{.epsilon = x}, "normalize_advantage", "epsilon"));
    REQUIRE(message_of<rlgaf::shape_error>([] {
                run({}, {{1, 2}}, {{1}});
            }) == "rlgaf::normalize_advantage: mask row 0: expected 2 tokens, got 1");
    ragged<float> a({{1, 2}, {3}}, layout::padded, 0.0f);
    const auto view = a.view();
    REQUIRE(allocations_of([&] { normalize_advantage{}(view, {}); }) == 0);
}
