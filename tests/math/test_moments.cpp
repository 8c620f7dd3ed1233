#include "rlgaf/math/moments.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::moments;
using rlgaf::variance_kind;
using rlgaf::whiten;

namespace {
moments of(const std::vector<double>& x) { return rlgaf::moments_of(x); }

table whitened(const whiten& w, const table& x, const table& mask = {}, layout how = layout::packed) {
    ragged<double> values(x, how, not_a_number);
    ragged<std::uint8_t> m(mask, how, 1);
    w(values.view(), m.view());
    REQUIRE(values.guards_intact());
    return values.rows();
}
}  // namespace

TEST_CASE("Moments of the formula sheet's golden group") {
    const moments m = of({1, 0, 0.5, 0.25});
    REQUIRE(m.count == 4);
    REQUIRE(gap(m.mean, 0.4375) < 1e-15);
    REQUIRE(gap(m.deviation(), 0.426956) < 1e-6);
    REQUIRE(gap(m.biased_variance(), m.variance() * 3 / 4) < 1e-15);
}

TEST_CASE("Moments of nothing, of one number and with NaN") {
    REQUIRE(of({}).count == 0);
    REQUIRE(of({}).mean == 0);
    REQUIRE(of({}).variance() == 0);
    REQUIRE(of({}).biased_variance() == 0);
    REQUIRE(of({5}).mean == 5);
    REQUIRE(of({5}).variance() == 0);
    REQUIRE(of({5}).biased_variance() == 0);
    const moments m = of({not_a_number, 1, not_a_number, 3});
    REQUIRE(m.count == 2);
    REQUIRE(m.mean == 2);
    REQUIRE(m.squares == 2);
    REQUIRE(of({not_a_number}).count == 0);
}

TEST_CASE("A large mean costs no digits of the variance") {
    // 1e9 + {-1, 0, 1}: the textbook formula S2 - S1^2 / n would give garbage here.
    REQUIRE(gap(of({1e9 - 1, 1e9, 1e9 + 1}).variance(), 1) < 1e-9);
}

TEST_CASE("Merging parts gives the moments of the whole (Chan et al. 1983)") {
    dice d(4);
    for (int i = 0; i < 500; ++i) {
        std::vector<double> a(d.below(6)), b(d.below(6)), both;
        for (auto* x : {&a, &b})
            for (double& v : *x) both.push_back(v = 100 + d.normal());
        moments m = of(a);
        m.merge(of(b));
        REQUIRE(m.count == of(both).count);
        REQUIRE(gap(m.mean, of(both).mean) < 1e-10);
        REQUIRE(gap(m.squares, of(both).squares) < 1e-10);
    }
    moments m;
    std::vector<std::string> names;
    auto archive = [&](const char* name, double&) { names.push_back(name); };
    m.visit(archive);
    REQUIRE(names == std::vector<std::string>{"count", "mean", "squares"});
}

TEST_CASE("A spread below a millionth of the mean, or of 1, is rounding noise") {
    REQUIRE(rlgaf::is_constant(0, 0));
    REQUIRE(rlgaf::is_constant(0.9e-6, 0));
    REQUIRE(!rlgaf::is_constant(1.1e-6, 0));
    REQUIRE(rlgaf::is_constant(0.9e-3, -1000));
    REQUIRE(!rlgaf::is_constant(1.1e-3, -1000));
    REQUIRE(rlgaf::is_constant(not_a_number, 0));
}

TEST_CASE("ema_moments are those of all batches, each weighted decay^age") {
    dice d(5);
    for (const double decay : {0.0, 0.5, 0.99}) {
        rlgaf::ema_moments ema;
        std::vector<moments> batches;
        for (int k = 0; k < 6; ++k) {
            std::vector<double> x(1 + d.below(4));
            for (double& v : x) v = 3 + k + d.normal();
            batches.push_back(of(x));
            ema.update(batches.back(), decay);
            double weight = 0, mean = 0, second = 0;
            for (int j = 0; j <= k; ++j) {
                const moments& b = batches[static_cast<std::size_t>(j)];
                const double w = std::pow(decay, k - j);
                weight += w, mean += w * b.mean, second += w * (b.biased_variance() + b.mean * b.mean);
            }
            mean /= weight;
            REQUIRE(gap(ema.mean, mean) < 1e-12);
            REQUIRE(gap(ema.variance, second / weight - mean * mean) < 1e-10);
        }
        const double before = ema.mean;
        ema.update(moments{}, decay);
        REQUIRE(ema.mean == before);
    }
}

TEST_CASE("whiten: the formula sheet's golden vectors") {
    REQUIRE(gap(whitened({}, {{0.651567, 0.6685, 0.7}}), table{{-0.886466, -0.197561, 1.084027}}) < 1e-4);
    const table x = {{0.5625, 0.5625, 0.5625}, {-0.4375, -0.4375}, {0.0625, 0.0625, 0.0625, 0.0625}, {-0.1875}};
    const table bessel = whitened({}, x), biased = whitened({.kind = variance_kind::biased}, x);
    const double expected[2][4] = {{1.246814, -1.378058, -0.065622, -0.721840},
                                   {1.314257, -1.452600, -0.069171, -0.760886}};
    for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t t = 0; t < x[i].size(); ++t) {
            REQUIRE(gap(bessel[i][t], expected[0][i]) < 1e-5);
            REQUIRE(gap(biased[i][t], expected[1][i]) < 1e-5);
        }
}

TEST_CASE("whiten gives unmasked tokens mean 0 (or keeps it) and deviation 1, and leaves the masked ones alone") {
    dice d(6);
    for (int i = 0; i < 1000; ++i) {
        const table shape = random_shape(d, 5, 5), mask = random_mask(d, shape);
        const table x = table_like(
            shape, [&](auto b, auto t) { return included(mask, b, t) ? 50 + 3 * d.normal() : not_a_number; });
        const whiten w{.kind = d.chance(0.5) ? variance_kind::bessel : variance_kind::biased,
                       .keep_mean = d.chance(0.5)};
        const table y = whitened(w, x, mask, layout::padded);
        REQUIRE(same_bits(whitened(w, x, mask), y));
        std::vector<double> before, after;
        for (std::size_t b = 0; b < x.size(); ++b)
            for (std::size_t t = 0; t < x[b].size(); ++t)
                if (included(mask, b, t))
                    before.push_back(x[b][t]), after.push_back(y[b][t]);
                else
                    REQUIRE(same_bits(y[b][t], x[b][t]));
        const moments m = of(before), n = of(after);
        REQUIRE(gap(n.mean, w.keep_mean ? m.mean : 0) < 1e-12);
        if (m.count > 1)
            REQUIRE(gap(w.kind == variance_kind::bessel ? n.variance() : n.biased_variance(), 1) < 1e-10);
        else if (m.count == 1)
            REQUIRE(gap(after[0], w.keep_mean ? before[0] : 0) < 1e-12);
    }
}

TEST_CASE("whiten centres a constant without blowing up its rounding noise") {
    for (const double v : {17.3, 0.1, -5.7, static_cast<double>(17.3f)})
        for (const std::size_t n : {1u, 2u, 3u, 8u}) {
            REQUIRE(gap(whitened({}, {std::vector<double>(n, v)}), table{std::vector<double>(n, 0.0)}) < 1e-13);
            REQUIRE(gap(whitened({.keep_mean = true}, {std::vector<double>(n, v)}), table{std::vector<double>(n, v)}) <
                    1e-13);
        }
    REQUIRE(whitened({}, {}).empty());
    REQUIRE(same_bits(whitened({}, {{1, 2}}, {{0, 0}}), table{{1, 2}}));
}

TEST_CASE("whiten reports what it found, casts once, allocates nothing and refuses a mask of another shape") {
    ragged<float> x({{1, 2}, {6}}, layout::padded, 0.0f);
    const auto view = x.view();
    moments m;
    REQUIRE(allocations_of([&] { m = whiten{}(view, {}); }) == 0);
    REQUIRE(m.count == 3);
    REQUIRE(m.mean == 3);
    REQUIRE(m.squares == 14);
    REQUIRE(same_bits(x.rows(), as_float({{-2 / std::sqrt(7.0), -1 / std::sqrt(7.0)}, {3 / std::sqrt(7.0)}})));
    ragged<std::uint8_t> mask({{1}, {1}}, layout::padded, 1);
    REQUIRE(message_of<rlgaf::shape_error>([&] { whiten{}(x.view(), mask.view()); }) ==
            "rlgaf::whiten: mask row 0: expected 2 tokens, got 1");
}
