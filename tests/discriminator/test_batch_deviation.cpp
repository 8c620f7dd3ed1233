#include "rlgaf/discriminator/batch_deviation.hpp"
#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::batch_deviation;
using rlgaf::bce;
using rlgaf::deviation_scores;

namespace {
using vector = std::vector<double>;

struct wide_case {
    std::size_t width;
    vector real, fake;  ///< [n * width]
    std::vector<std::uint32_t> pairs{};
    vector real_weight{}, fake_weight{};
};

template <class T = double, class Loss>
score_result run_wide(const batch_deviation<Loss>& loss, const wide_case& c, double start = 0) {
    const std::vector<T> real(c.real.begin(), c.real.end()), fake(c.fake.begin(), c.fake.end());
    std::vector<T> d_real(real.size(), static_cast<T>(start)), d_fake(fake.size(), static_cast<T>(start));
    const rlgaf::discriminator_terms<T> terms{real, fake, {c.pairs}, c.real_weight, c.fake_weight, c.width};
    typename batch_deviation<Loss>::state state;
    rlgaf::workspace work;
    score_result r;
    const auto call = [&] { r.stats = loss(state, terms, std::span<T>(d_real), std::span<T>(d_fake), work); };
    call();
    const std::vector<T> once_real = d_real, once_fake = d_fake;
    REQUIRE(allocations_of(call) == 0);
    r.d_real.assign(once_real.begin(), once_real.end());
    r.d_fake.assign(once_fake.begin(), once_fake.end());
    return r;
}

/// s' by its definition, column by column.
vector mixed(const vector& x, std::size_t width) {
    const std::size_t n = x.size() / width, first = width == 2 ? 0 : 2, features = width == 2 ? 1 : width - 2;
    double m = 0;
    for (std::size_t k = first; k < first + features; ++k) {
        double mean = 0, square = 0;
        for (std::size_t i = 0; i < n; ++i) mean += x[i * width + k] / static_cast<double>(n);
        for (std::size_t i = 0; i < n; ++i) square += std::pow(x[i * width + k] - mean, 2) / static_cast<double>(n);
        m += std::sqrt(square) / static_cast<double>(features);
    }
    vector out;
    for (std::size_t i = 0; i < n; ++i) out.push_back(x[i * width] + x[i * width + 1] * m);
    return out;
}

wide_case random_wide(dice& d) {
    wide_case c{.width = 2 + d.below(4), .real = {}, .fake = {}};
    const std::size_t n_real = 1 + d.below(4), n_fake = d.below(5);
    c.real.resize(n_real * c.width), c.fake.resize(n_fake * c.width);
    for (auto* side : {&c.real, &c.fake})
        for (double& v : *side) v = d.normal();
    for (std::size_t j = 0; j < n_fake; ++j) c.pairs.push_back(static_cast<std::uint32_t>(d.below(n_real)));
    if (d.chance(0.5))
        for (std::size_t i = 0; i < n_real; ++i) c.real_weight.push_back(d.uniform());
    if (d.chance(0.5))
        for (std::size_t j = 0; j < n_fake; ++j) c.fake_weight.push_back(d.uniform());
    return c;
}
}  // namespace

TEST_CASE("batch_deviation: the inner loss sees s + gate * mean deviation, a side at a time") {
    dice d(1710);
    for (int i = 0; i < 2000; ++i) {
        CAPTURE(i);
        const wide_case c = random_wide(d);
        const weighted_scores inner{
            {mixed(c.real, c.width), mixed(c.fake, c.width), c.pairs}, c.real_weight, c.fake_weight};
        const score_result r = run_wide(batch_deviation{bce{}}, c), expected = run_weighted(bce{}, inner);
        REQUIRE(gap(r.stats.loss, expected.stats.loss) < 1e-12);
        REQUIRE(gap(r.stats.real_mean, expected.stats.real_mean) < 1e-12);
        REQUIRE(gap(r.stats.fake_mean, expected.stats.fake_mean) < 1e-12);
        REQUIRE(r.stats.accuracy == expected.stats.accuracy);
        vector out(c.real.size() / c.width);
        deviation_scores<double>(c.real, c.width, out);
        REQUIRE(gap(out, inner.scores.real) < 1e-13);
    }
}

TEST_CASE("The derivatives of batch_deviation agree with finite differences") {
    dice d(1711);
    for (int i = 0; i < 1000; ++i) {
        CAPTURE(i);
        wide_case c = random_wide(d);
        const auto check = [&](const auto& loss) {
            const score_result r = run_wide(loss, c);
            const auto value = [&] { return run_wide(loss, c).stats.loss; };
            for (std::size_t k = 0; k < c.real.size(); ++k) REQUIRE(gap(slope(value, c.real[k]), r.d_real[k]) < 1e-6);
            for (std::size_t k = 0; k < c.fake.size(); ++k) REQUIRE(gap(slope(value, c.fake[k]), r.d_fake[k]) < 1e-6);
        };
        check(batch_deviation{bce{}});
        if (i % 4 == 0) {
            c.real_weight.clear(), c.fake_weight.clear();
            check(batch_deviation{rlgaf::bradley_terry{}});
        }
    }
}

TEST_CASE("batch_deviation by hand: two rows with a score, a gate and one feature") {
    // features 1 and 5: deviation 2; s' = (0, 2 * 2)
    const wide_case c{3, {0, 0, 1, 0, 2, 5}, {}};
    const score_result r = run_wide(batch_deviation{bce{}}, c);
    REQUIRE(gap(r.stats.loss, (std::log(2) + std::log1p(std::exp(-4.0))) / 2) < 1e-15);
    const double g = -1 / (1 + std::exp(4.0)) / 2;  // dL / ds'_2
    REQUIRE(gap(r.d_real, {-0.25, -0.25 * 2, -2 * g / 2, g, g * 2, 2 * g / 2}) < 1e-15);
}

TEST_CASE("batch_deviation tells a policy that repeats itself") {
    // the same scores and gates; the samples' features are all alike
    const wide_case c{3, {0, 1, 1, 0, 1, -1}, {0, 1, 0.3, 0, 1, 0.3}};
    const score_result r = run_wide(batch_deviation{bce{}}, c);
    REQUIRE(r.stats.real_mean == 1);
    REQUIRE(r.stats.fake_mean == 0);
}

TEST_CASE("batch_deviation of equal rows, of one row, and of none: no deviation, no derivative of it") {
    for (const double x : {0.1, 1e6 / 3, -7.0}) {
        const wide_case equal{3, {1, 2, x, 1, 2, x, 1, 2, x}, {1, 2, x}};
        const score_result r = run_wide(batch_deviation{bce{}}, equal);
        const double g = -1 / (1 + std::exp(1.0));
        REQUIRE(gap(r.d_real, {g / 3, 0, 0, g / 3, 0, 0, g / 3, 0, 0}) < 1e-15);
        REQUIRE(gap(r.d_fake, {1 + g, 0, 0}) < 1e-15);
        REQUIRE(r.stats.real_mean == 1);
        for (const std::size_t k : {1u, 2u, 4u, 5u, 7u, 8u}) REQUIRE(r.d_real[k] == 0);
    }
    REQUIRE(run_wide(batch_deviation{bce{}}, {4, {}, {}}).stats.loss == 0);
    vector none;
    deviation_scores<double>(vector{}, 2, none);
    const score_result far = run_wide(batch_deviation{bce{}}, {2, {1e4, 1, -1e4, 1}, {-1e4, 0, 1e4, 0}});
    for (const auto* x : {&far.d_real, &far.d_fake})
        for (const double v : *x) REQUIRE(std::abs(v) < infinity);
}

TEST_CASE("batch_deviation accumulates, in float as well, and does not depend on the order of rows") {
    dice d(9);
    for (int i = 0; i < 300; ++i) {
        wide_case c = random_wide(d);
        for (auto* x : {&c.real, &c.fake})
            for (double& v : *x) v = static_cast<double>(static_cast<float>(v));
        const score_result plain = run_wide(batch_deviation{bce{}}, c), added = run_wide(batch_deviation{bce{}}, c, 5);
        const score_result narrow = run_wide<float>(batch_deviation{bce{}}, c);
        REQUIRE(narrow.stats.loss == plain.stats.loss);
        for (std::size_t k = 0; k < plain.d_real.size(); ++k) {
            REQUIRE(gap(added.d_real[k] - 5, plain.d_real[k]) < 1e-14);
            REQUIRE(gap(narrow.d_real[k], plain.d_real[k]) < 1e-6);
        }
        wide_case reversed = c;
        reversed.pairs.clear();
        const std::size_t n = c.fake.size() / c.width;
        for (std::size_t j = 0; j < n; ++j)
            for (std::size_t k = 0; k < c.width; ++k)
                reversed.fake[j * c.width + k] = c.fake[(n - 1 - j) * c.width + k];
        for (std::size_t j = 0; j < c.fake_weight.size(); ++j) reversed.fake_weight[j] = c.fake_weight[n - 1 - j];
        const score_result other = run_wide(batch_deviation{bce{}}, reversed);
        REQUIRE(gap(other.stats.loss, plain.stats.loss) < 1e-13);
        for (std::size_t j = 0; j < n; ++j)
            for (std::size_t k = 0; k < c.width; ++k)
                REQUIRE(gap(other.d_fake[j * c.width + k], plain.d_fake[(n - 1 - j) * c.width + k]) < 1e-13);
    }
}

TEST_CASE("batch_deviation refuses widths and sizes that do not fit, by name") {
    const vector six(6), five(5);
    vector g6(6), g5(5), out(2);
    rlgaf::workspace work;
    batch_deviation<bce>::state state;
    const auto message = [&](const vector& real, const vector& fake, vector& d_real, vector& d_fake,
                             std::size_t width) {
        return message_of<rlgaf::shape_error>([&] {
            const rlgaf::discriminator_terms<double> terms{.real = real, .fake = fake, .pairs = {}, .width = width};
            batch_deviation{bce{}}(state, terms, std::span(d_real), std::span(d_fake), work);
        });
    };
    const std::string start = "rlgaf::batch_deviation: ";
    REQUIRE(message(six, six, g6, g6, 3) == "nothing thrown");
    for (const std::size_t width : {0u, 1u})
        REQUIRE(message(six, six, g6, g6, width).starts_with(start + "terms.width: expected 2 or more"));
    REQUIRE(message(five, six, g5, g6, 3) == start + "real: expected 3 elements, got 5");
    REQUIRE(message(six, five, g6, g5, 3) == start + "fake: expected 3 elements, got 5");
    REQUIRE(message(six, six, g5, g6, 3) == start + "d_real: expected 6 elements, got 5");
    REQUIRE(message(six, six, g6, g5, 3) == start + "d_fake: expected 6 elements, got 5");
    REQUIRE(message_of<rlgaf::shape_error>([&] { deviation_scores<double>(six, 2, out); }) ==
            start + "out: expected 3 elements, got 2");
    REQUIRE_THROWS_AS((batch_deviation{bce{.smooth_real = 1}}.check()), rlgaf::option_error);
}
