#include <algorithm>

#include "rlgaf/preference/aot.hpp"
#include "rlgaf/preference/dpo.hpp"
#include "support/pair_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::aot;

namespace {
double plain_softplus(double x) { return std::log(1 + std::exp(x)); }

/// Straight from the definition: two sorted lists.
struct quantiles {
    std::vector<double> u, v;
    double closest = infinity;  ///< gap of neighbours: where it is 0 the order can change

    quantiles(const aot& o, const pair_case& c) {
        const auto x = [&](std::size_t b) { return sums_of(c, b).log_prob; };
        const auto y = [&](std::size_t b) { return sums_of(c, b).log_prob - sums_of(c, b).ratio; };
        for (const auto& pair : c.pairs) {
            if (pair.weight == 0) continue;
            u.push_back(o.paired ? x(pair.chosen) - x(pair.rejected) : x(pair.chosen) - y(pair.chosen));
            v.push_back(o.paired ? y(pair.chosen) - y(pair.rejected) : x(pair.rejected) - y(pair.rejected));
        }
        std::sort(u.begin(), u.end()), std::sort(v.begin(), v.end());
        for (std::size_t k = 1; k < u.size(); ++k)
            closest = std::fmin(closest, std::fmin(u[k] - u[k - 1], v[k] - v[k - 1]));
    }
    double loss(const aot& o) const {
        double sum = 0;
        for (std::size_t k = 0; k < u.size(); ++k) {
            const double h = o.beta * (u[k] - v[k]);
            sum += (1 - o.label_smoothing) * plain_softplus(-h) + o.label_smoothing * plain_softplus(h);
        }
        return u.empty() ? 0 : sum / static_cast<double>(u.size());
    }
};
pair_case random_case(dice& d) {
    pair_case c = random_pair_case(d);
    const double weight = d.uniform(0.1, 3);
    for (auto& pair : c.pairs) pair.weight = pair.weight == 0 ? 0 : weight;
    return c;
}
aot random_options(dice& d) {
    return {
        .paired = d.chance(0.5), .beta = d.uniform(0.05, 1), .label_smoothing = d.chance(0.5) ? 0 : d.uniform(0, 0.45)};
}
}  // namespace

TEST_CASE("aot is its definition on random pairs, its gradient the slope; storage, order of pairs and edges") {
    dice d(2407);
    std::size_t compared = 0;
    for (int i = 0; i < 4000; ++i) {
        CAPTURE(i);
        const aot o = random_options(d);
        const pair_case c = random_case(d);
        const quantiles q(o, c);
        const pair_result r = run(o, c);
        REQUIRE(gap(r.stats.loss, q.loss(o)) < 1e-11 * (1 + q.loss(o)));
        const auto stats = stats_by_definition(c, o.beta, [](auto&, auto&) { return 0.0; });
        REQUIRE(gap(r.stats.chosen, stats.chosen) < 1e-11 * (1 + std::abs(stats.chosen)));
        REQUIRE(gap(r.stats.margin, stats.margin) < 1e-10);
        REQUIRE(gap(r.stats.accuracy, stats.accuracy) < 1e-12);
        if (q.closest > 1e-3) compared += check_pair_slopes(o, c);
        if (i % 10 != 0) continue;
        check_pair_storage(o, c, d);
        if (q.closest > 1e-9) {
            pair_case other = c;
            other.pairs = permuted(c.pairs, d.permutation(c.pairs.size()));
            const pair_result s = run(o, other);
            REQUIRE(gap(s.stats.loss, r.stats.loss) < 1e-12 * (1 + r.stats.loss));
            REQUIRE(gap(s.gradient, r.gradient) < 1e-13);
        }
    }
    REQUIRE(compared > 10000);
    for (const bool paired : {true, false}) {
        check_pair_edges(aot{.paired = paired});
        check_pair_shapes(aot{.paired = paired}, "aot");
    }
    STATIC_REQUIRE(!aot::row_separable);
}

TEST_CASE("aot by hand: two pairs whose quantiles cross") {
    // Unpaired: chosen log-ratios 2 and 0, rejected 1 and -1: sorted gaps 1 and 1.
    const pair_case c{{{2}, {1}, {0}, {-1}}, {{0}, {0}, {0}, {0}}, {}, {{0, 3}, {2, 1}}};
    const pair_result unpaired = run(aot{.paired = false, .beta = 1}, c);
    REQUIRE(gap(unpaired.stats.loss, plain_softplus(-1)) < 1e-15);
    const double push = 0.5 / (1 + std::exp(1));
    REQUIRE(gap(unpaired.gradient, table{{-push}, {push}, {-push}, {push}}) < 1e-15);
    // Paired: differences 3 and -1 against a reference of 0 and 0.
    const pair_result paired = run(aot{.beta = 1}, c);
    REQUIRE(gap(paired.stats.loss, (plain_softplus(-3) + plain_softplus(1)) / 2) < 1e-15);
    const double high = 0.5 / (1 + std::exp(3)), low = 0.5 / (1 + std::exp(-1));
    REQUIRE(gap(paired.gradient, table{{-high}, {low}, {-low}, {high}}) < 1e-15);
    // A reference whose own differences are in another order: sorted against sorted, TRL's aot.
    pair_case other = c;
    other.reference_log_prob = {{-2}, {0}, {0}, {0}};  // -2 and 0
    const pair_result sorted = run(aot{.beta = 1}, other);
    REQUIRE(gap(sorted.stats.loss, (plain_softplus(-(-1 + 2)) + plain_softplus(-3)) / 2) < 1e-15);
}

TEST_CASE("aot of one pair is dpo") {
    dice d(2408);
    for (int i = 0; i < 300; ++i) {
        pair_case c = random_case(d);
        if (c.pairs.empty() || c.pairs[0].weight == 0) continue;
        c.pairs.resize(1);
        const aot o = random_options(d);
        const pair_result a = run(o, c), b = run(rlgaf::dpo{.beta = o.beta, .label_smoothing = o.label_smoothing}, c);
        REQUIRE(gap(a.stats.loss, b.stats.loss) < 1e-12 * (1 + b.stats.loss));
        REQUIRE(gap(a.gradient, b.gradient) < 1e-13);
    }
}

TEST_CASE("aot at kinks: equal numbers go in the order of their pairs; sums of 1e4 saturate") {
    const pair_case tie{{{1}, {0}, {1}, {0}}, {{0}, {0}, {5}, {0}}, {}, {{0, 1}, {2, 3}}};
    const pair_result r = run(aot{.beta = 1}, tie);  // u = 1, 1; v = 0, 5
    const double near = 0.5 / (1 + std::exp(1)), far = 0.5 / (1 + std::exp(-4));
    REQUIRE(gap(r.gradient, table{{-near}, {near}, {-far}, {far}}) < 1e-15);
    for (const bool paired : {true, false}) {
        const pair_case wide{{{-1e4}, {1e4}}, {{0}, {0}}, {}, {{0, 1}}};
        const pair_result wrong = run(aot{.paired = paired, .beta = 1}, wide);
        REQUIRE(gap(wrong.gradient, table{{-1}, {1}}) < 1e-15);
        REQUIRE(wrong.stats.loss == 2e4);
    }
}

TEST_CASE("aot refuses weights that differ, and options by name") {
    const pair_case c{{{1}, {0}, {1}}, {{0}, {0}, {0}}, {}, {{0, 1, 1}, {2, 1, 0}, {0, 2, 2}}};
    REQUIRE(message_of<rlgaf::numeric_error>([&] { run(aot{}, c); }) ==
            "rlgaf::aot: pairs[2].weight: expected the weight of the others, 1, got 2");
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(aot{.beta = x}, "aot", "beta"));
    for (const double x : {-0.1, 0.5, not_a_number})
        REQUIRE(refuses(aot{.label_smoothing = x}, "aot", "label_smoothing"));
}
