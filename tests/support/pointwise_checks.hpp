#pragma once
/// What every pointwise discriminator loss owes beyond discriminator_checks.hpp: see check_pointwise_loss.
#include "support/discriminator_checks.hpp"

namespace rlgaf_test {

/// Scores with weights a row; empty weights are not given.
struct weighted_scores {
    score_case scores;
    std::vector<double> real_weight{}, fake_weight{};
};

template <class T = double, class Loss>
score_result run_weighted(const Loss& loss, const weighted_scores& c, double start = 0) {
    const std::vector<T> real(c.scores.real.begin(), c.scores.real.end());
    const std::vector<T> fake(c.scores.fake.begin(), c.scores.fake.end());
    std::vector<T> d_real(real.size(), static_cast<T>(start)), d_fake(fake.size(), static_cast<T>(start));
    const rlgaf::discriminator_terms<T> terms{real, fake, {c.scores.pairs}, c.real_weight, c.fake_weight};
    score_result r;
    const std::size_t allocated =
        allocations_of([&] { r.stats = loss(terms, std::span<T>(d_real), std::span<T>(d_fake)); });
    REQUIRE(allocated == 0);
    r.d_real.assign(d_real.begin(), d_real.end());
    r.d_fake.assign(d_fake.begin(), d_fake.end());
    return r;
}

/// 0 to 6 scores a side, now and then as many as go over a block of the library's loops; with and without weights.
inline weighted_scores random_weighted_scores(dice& d, double scale) {
    weighted_scores c;
    const auto size = [&] { return d.chance(0.01) ? 120 + d.below(150) : d.below(7); };
    c.scores.real.resize(size());
    c.scores.fake.resize(size());
    for (auto* side : {&c.scores.real, &c.scores.fake})
        for (double& s : *side) s = scale * d.normal();
    if (d.chance(0.5))
        for (std::size_t i = 0; i < c.scores.real.size(); ++i) c.real_weight.push_back(d.chance(0.1) ? 0 : d.normal());
    if (d.chance(0.5))
        for (std::size_t i = 0; i < c.scores.fake.size(); ++i) c.fake_weight.push_back(d.chance(0.1) ? 0 : d.normal());
    return c;
}

/// The loss of one score alone, and its derivative.
struct one_score {
    double value, slope;
};
template <class Loss>
one_score of_one(const Loss& loss, double s, bool real) {
    const score_result r = real ? run(loss, score_case{{s}, {}, {}}) : run(loss, score_case{{}, {s}, {}});
    return {r.stats.loss, real ? r.d_real[0] : r.d_fake[0]};
}

/// Derivatives of scores within `scale` times a normal number, except within 1e-4 of +-kink.
template <class Loss>
void check_pointwise_slopes(const Loss& loss, dice& d, double scale, double kink) {
    for (const bool real : {true, false}) {
        double s = scale * d.normal();
        if (gap(std::abs(s), kink) < 1e-4) continue;
        const double expected = slope([&] { return of_one(loss, s, real).value; }, s);
        REQUIRE(gap(of_one(loss, s, real).slope, expected) < 1e-6 * (1 + std::abs(expected)));
    }
}

/// The loss of many scores against those of single ones; accumulation, float.
template <class Loss>
void check_pointwise_sums(const Loss& loss, const weighted_scores& c) {
    const score_result r = run_weighted(loss, c), added = run_weighted(loss, c, 5);
    double expected = 0, size = 1;
    const auto side = [&](const std::vector<double>& score, const std::vector<double>& weight, bool real,
                          const std::vector<double>& gradient, const std::vector<double>& plus_5) {
        for (std::size_t i = 0; i < score.size(); ++i) {
            const double w = weight.empty() ? 1 / static_cast<double>(score.size()) : weight[i];
            const one_score one = of_one(loss, score[i], real);
            expected += w * one.value, size += std::abs(w * one.value);
            REQUIRE(gap(gradient[i], w * one.slope) <= 1e-14 * std::abs(one.slope));
            REQUIRE(gap(plus_5[i] - 5, gradient[i]) <= 1e-14 * (5 + std::abs(gradient[i])));
        }
    };
    side(c.scores.real, c.real_weight, true, r.d_real, added.d_real);
    side(c.scores.fake, c.fake_weight, false, r.d_fake, added.d_fake);
    REQUIRE(gap(r.stats.loss, expected) < 1e-13 * size);
    REQUIRE(added.stats.loss == r.stats.loss);

    weighted_scores rounded = c;
    for (auto* x : {&rounded.scores.real, &rounded.scores.fake})
        for (double& v : *x) v = static_cast<double>(static_cast<float>(v));
    check_float(run_weighted<float>(loss, rounded), run_weighted(loss, rounded));
}

template <class Loss>
void check_pointwise_shapes(const Loss& loss, const std::string& name) {
    check_score_shapes(loss, name);
    const std::vector<double> four(4), two(2), one(1);
    std::vector<double> g4(4), g2(2);
    const auto message = [&](const rlgaf::discriminator_terms<double>& terms) {
        return message_of<rlgaf::shape_error>([&] { loss(terms, std::span<double>(g4), std::span<double>(g2)); });
    };
    const std::string start = "rlgaf::" + name + ": ";
    REQUIRE(message({four, two, {}, four, two}) == "nothing thrown");
    REQUIRE(message({four, two, {}, two, two}) == start + "terms.real_weight: expected 4 elements, got 2");
    REQUIRE(message({four, two, {}, {}, one}) == start + "terms.fake_weight: expected 2 elements, got 1");
    REQUIRE(message({four, two, {}, {}, {}, 2}) ==
            start + "terms.width: expected 1: wrap the loss in per_column, got 2");
}

/// Random cases of random options; make(dice) gives a loss. Scores are `scale` times a normal number.
template <class Make>
void check_pointwise_loss(const std::string& name, Make&& make, double scale = 3, double kink = infinity,
                          int cases = 3000) {
    dice d(1606 + name.size());
    for (int i = 0; i < cases; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        check_pointwise_slopes(loss, d, scale, kink);
        const weighted_scores c = random_weighted_scores(d, scale);
        check_pointwise_sums(loss, c);
    }
    const auto loss = make(d);
    check_pointwise_shapes(loss, name);
    REQUIRE(std::isnan(run(loss, score_case{{0, not_a_number}, {1}, {}}).stats.loss));
    REQUIRE(std::isnan(run(loss, score_case{{0}, {1, not_a_number}, {}}).stats.loss));
    const score_result zero = run(loss, score_case{{0.0}, {0.0}, {}}),
                       minus = run(loss, score_case{{-0.0}, {-0.0}, {}});
    REQUIRE(zero.stats.loss == minus.stats.loss);
    REQUIRE(zero.d_real[0] == minus.d_real[0]);
    REQUIRE(zero.d_fake[0] == minus.d_fake[0]);
    const score_result none = run(loss, score_case{});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(none.stats.accuracy == 0.5);
    const score_result pairs = run(loss, score_case{{2, -1}, {0, -1, 3, 1}, {0, 1, 0, 1}});
    REQUIRE(pairs.stats.accuracy == 0.375);
    REQUIRE(pairs.stats.real_mean == 0.5);
    REQUIRE(pairs.stats.fake_mean == 0.75);
}

/// An expert and a policy over a few outcomes, none impossible; outcome k has one score for both.
struct two_distributions {
    std::vector<double> p, q;  ///< expert, policy

    template <class Loss>
    score_result expected(const Loss& loss, const std::vector<double>& score) const {
        return run_weighted(loss, weighted_scores{{score, score, {}}, p, q});
    }
    /// Asks the optimum of the expected loss to be where score(u) says, u = p / q.
    template <class Loss, class Score>
    void check_optimum(const Loss& loss, Score&& optimum, double tolerance = 1e-12) const {
        std::vector<double> s;
        for (std::size_t k = 0; k < p.size(); ++k) s.push_back(optimum(p[k] / q[k]));
        const score_result best = expected(loss, s);
        for (std::size_t k = 0; k < s.size(); ++k) {
            CAPTURE(k, s[k]);
            REQUIRE(std::abs(best.d_real[k] + best.d_fake[k]) < tolerance);
            for (const double step : {-0.01, 0.01}) {
                std::vector<double> moved = s;
                moved[k] += step;
                REQUIRE(expected(loss, moved).stats.loss > best.stats.loss);
            }
        }
    }
};

inline two_distributions random_distributions(dice& d, std::size_t outcomes) {
    two_distributions both;
    for (auto* x : {&both.p, &both.q}) {
        double total = 0;
        for (std::size_t k = 0; k < outcomes; ++k) x->push_back(d.uniform(0.05, 1)), total += x->back();
        for (double& v : *x) v /= total;
    }
    return both;
}

}  // namespace rlgaf_test
