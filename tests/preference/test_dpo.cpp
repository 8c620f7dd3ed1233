#include "rlgaf/preference/dpo.hpp"
#include "support/pair_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::dpo;
using rlgaf::dpo_variant;
using rlgaf::reference_divergence;

namespace {
constexpr dpo_variant variants[] = {dpo_variant::sigmoid,  dpo_variant::robust,    dpo_variant::ipo,
                                    dpo_variant::hinge,    dpo_variant::exo_pair,  dpo_variant::nca_pair,
                                    dpo_variant::bco_pair, dpo_variant::sppo_hard, dpo_variant::apo_zero,
                                    dpo_variant::apo_down, dpo_variant::discopop};
bool smooths(dpo_variant v) {
    return v == dpo_variant::sigmoid || v == dpo_variant::robust || v == dpo_variant::exo_pair;
}
bool knows_gap_only(dpo_variant v) {
    return smooths(v) || v == dpo_variant::ipo || v == dpo_variant::hinge || v == dpo_variant::discopop;
}
/// Of a variant, with the smoothing that exo_pair cannot do without.
dpo options_of(dpo_variant v, double beta = 0.1) {
    return {.variant = v, .beta = beta, .label_smoothing = v == dpo_variant::exo_pair ? 0.1 : 0};
}

double sig(double x) { return 1 / (1 + std::exp(-x)); }
/// f'(exp x) of the divergence, as Wang et al. 2023 have it.
double score(const dpo& o, double x) {
    const double t = std::exp(x), a = o.alpha;
    switch (o.divergence) {
        case reference_divergence::reverse_kl:
            return x;
        case reference_divergence::forward_kl:
            return 1 - 1 / t;
        case reference_divergence::js:
            return std::log(2 * t / (1 + t));
        case reference_divergence::alpha:
            return a == 1 ? x : (std::pow(t, a - 1) - 1) / (a - 1);
    }
    return not_a_number;
}
double rewarded(const dpo& o, const row_sums& s) {
    return o.beta * score(o, s.ratio) / (o.length_average ? std::fmax(s.tokens, 1) : 1);
}

/// The loss of a pair as the papers write it, with plain logarithms of plain sigmoids.
double paper(const dpo& o, const row_sums& chosen, const row_sums& rejected, double margin = 0) {
    const double c = rewarded(o, chosen), r = rewarded(o, rejected) + margin, h = c - r, e = o.label_smoothing;
    const double q = sig(h), x = c / o.beta, y = r / o.beta, target = 1 / (2 * o.beta);
    const double anchor = chosen.tokens > 0 ? -o.sft_coefficient * chosen.log_prob / chosen.tokens : 0;
    switch (o.variant) {
        case dpo_variant::sigmoid:
            return anchor - (1 - e) * std::log(sig(h)) - e * std::log(sig(-h));
        case dpo_variant::robust:
            return anchor + (-(1 - e) * std::log(sig(h)) + e * std::log(sig(-h))) / (1 - 2 * e);
        case dpo_variant::ipo:
            return anchor + std::pow(x - y - target, 2);
        case dpo_variant::hinge:
            return anchor + std::fmax(0, 1 - h);
        case dpo_variant::exo_pair:
            return anchor + q * std::log(q / (1 - e)) + sig(-h) * std::log(sig(-h) / e);
        case dpo_variant::nca_pair:
            return anchor - std::log(sig(c)) - 0.5 * std::log(sig(-c)) - 0.5 * std::log(sig(-r));
        case dpo_variant::bco_pair:
            return anchor - std::log(sig(c)) - std::log(sig(-r));
        case dpo_variant::sppo_hard:
            return anchor + std::pow(x - target, 2) + std::pow(y + target, 2);
        case dpo_variant::apo_zero:
            return anchor + (1 - sig(c)) + sig(r);
        case dpo_variant::apo_down:
            return anchor + sig(c) + (1 - sig(h));
        case dpo_variant::discopop: {
            const double m = sig(h / o.tau);
            return anchor - (1 - m) * std::log(sig(h)) + (m > 0 ? m * std::exp(-h) : 0);
        }
    }
    return not_a_number;
}

dpo random_options(dice& d) {
    dpo o{.variant = variants[d.below(std::size(variants))], .beta = d.uniform(0.05, 1)};
    if (smooths(o.variant) && (o.variant == dpo_variant::exo_pair || d.chance(0.5)))
        o.label_smoothing = d.uniform(0.01, 0.45);
    o.length_average = d.chance(0.3);
    o.sft_coefficient = d.chance(0.3) ? d.uniform(0, 2) : 0;
    o.tau = d.chance(0.5) ? 0.05 : d.uniform(0.05, 1);
    return o;
}

/// One pair whose rows have n tokens each and these sums of log-ratios.
pair_case two_rows(double chosen, double rejected, std::size_t n_chosen = 1, std::size_t n_rejected = 1) {
    pair_case c{.pairs = {{0, 1}}};
    c.reference_log_prob = {std::vector<double>(n_chosen, -2), std::vector<double>(n_rejected, -3)};
    c.log_prob = c.reference_log_prob;
    c.log_prob[0][0] += chosen;
    c.log_prob[1][0] += rejected;
    return c;
}
void check_pair(const dpo& loss, const pair_case& c, double value, double d_chosen, double d_rejected,
                double tolerance = 1e-7) {
    CAPTURE(static_cast<int>(loss.variant));
    const pair_result r = run(loss, c);
    REQUIRE(gap(r.stats.loss, value) < tolerance);
    for (const double g : r.gradient[0]) REQUIRE(gap(g, d_chosen) < tolerance);
    for (const double g : r.gradient[1]) REQUIRE(gap(g, d_rejected) < tolerance);
}
}  // namespace

TEST_CASE("dpo and its variants keep the promises of a pair loss and agree with the papers' formulas") {
    check_pair_loss(
        "dpo", random_options, [](const dpo& o) { return o.beta; },
        [](const dpo& o, const row_sums& a, const row_sums& b) { return paper(o, a, b); },
        [](const dpo& o, const row_sums& a, const row_sums& b) {
            return o.variant == dpo_variant::hinge && gap(rewarded(o, a) - rewarded(o, b), 1) < 1e-3;
        },
        6000);
    for (const dpo_variant v : variants) check_pair_edges(options_of(v));
}

TEST_CASE("dpo on the formula sheet's golden vector") {
    // Lc = -5, Lc_ref = -6, Lj = -7, Lj_ref = -6.5, beta 0.1: h = 0.15.
    const pair_case c{{{-2, -3}, {-7}}, {{-2.5, -3.5}, {-6.5}}, {}, {{0, 1}}};
    const pair_result r = run(dpo{}, c);
    REQUIRE(gap(r.stats.loss, 0.620957) < 1e-6);
    REQUIRE(gap(r.gradient, table{{-0.046257, -0.046257}, {0.046257}}) < 1e-6);
    REQUIRE(gap(r.stats.chosen, 0.1) < 1e-12);
    REQUIRE(gap(r.stats.rejected, -0.05) < 1e-12);
    REQUIRE(gap(r.stats.margin, 0.15) < 1e-12);
    REQUIRE(r.stats.accuracy == 1);
}

TEST_CASE("dpo: every variant on log-ratios 1 and -0.5, by TRL's formulas evaluated by hand") {
    const pair_case c = two_rows(1, -0.5, 2, 4);
    check_pair({}, c, 0.620957048, -0.04625702, 0.04625702);
    check_pair({.label_smoothing = 0.1}, c, 0.635957048, -0.03625702, 0.03625702);
    check_pair({.variant = dpo_variant::robust, .label_smoothing = 0.1}, c, 0.602207048, -0.05875702, 0.05875702);
    check_pair({.variant = dpo_variant::ipo}, c, 12.25, -7, 7);
    check_pair({.variant = dpo_variant::ipo, .length_average = true}, c, 19.140625, -4.375, 2.1875);
    check_pair({.variant = dpo_variant::hinge}, c, 0.85, -0.1, 0.1);
    check_pair({.length_average = true}, c, 0.662385382, -0.024219, 0.0121095);  // sigmoid_norm
    check_pair({.variant = dpo_variant::exo_pair, .label_smoothing = 0.1}, c, 0.431388457, -0.0508938, 0.0508938);
    check_pair({.variant = dpo_variant::nca_pair}, c, 1.350824814, -0.02125312, 0.02437513);
    check_pair({.variant = dpo_variant::bco_pair}, c, 1.312856308, -0.04750208, 0.04875026);
    check_pair({.variant = dpo_variant::sppo_hard}, c, 36.25, -8, 9);
    check_pair({.variant = dpo_variant::apo_zero}, c, 0.962523416, -0.0249376, 0.02498438);
    check_pair({.variant = dpo_variant::apo_down}, c, 0.987549342, 0.0000777, 0.0248599);
    check_pair({.variant = dpo_variant::discopop}, c, 0.849337579, -0.0625203, 0.0625203);
    check_pair({.divergence = reference_divergence::js}, c, 0.660652163, -0.01300293, 0.03009501);
    // The anchor: the chosen row's mean log-prob is -1.5, over two tokens.
    check_pair({.sft_coefficient = 2}, c, 0.620957048 + 3, -0.04625702 - 1, 0.04625702);
}

TEST_CASE("dpo with log-ratio sums of +-200: finite, saturated on the right side, pushing on the wrong one") {
    for (const dpo_variant v : variants)
        for (const double beta : {0.1, 1.0})
            for (const double chosen : {-200.0, 0.0, 200.0})
                for (const double rejected : {-200.0, 0.0, 200.0}) {
                    CAPTURE(static_cast<int>(v), beta, chosen, rejected);
                    pair_case c = two_rows(chosen, rejected);
                    const dpo loss = options_of(v, beta);
                    const pair_result r = run(loss, c);
                    REQUIRE(std::abs(r.stats.loss) < infinity);
                    for (const std::size_t b : {0u, 1u}) {
                        const double expected = slope([&] { return run(loss, c).stats.loss; }, c.log_prob[b][0], 1e-4);
                        REQUIRE(gap(expected, r.gradient[b][0]) < 1e-5 * (1 + std::abs(expected)));
                    }
                    REQUIRE(run<float>(loss, c).gradient == as_float(r.gradient));
                }
    check_pair(options_of(dpo_variant::sigmoid, 1), two_rows(200, -200), 0, 0, 0);
    check_pair(options_of(dpo_variant::sigmoid, 1), two_rows(-200, 200), 400, -1, 1, 1e-12);
    check_pair({.beta = 1, .label_smoothing = 0.25}, two_rows(200, -200), 100, 0.25, -0.25, 1e-12);
    check_pair({.variant = dpo_variant::robust, .beta = 1, .label_smoothing = 0.25}, two_rows(-200, 200), 600, -1.5,
               1.5, 1e-12);
    check_pair({.variant = dpo_variant::robust, .beta = 1, .label_smoothing = 0.25}, two_rows(200, -200), -200, -0.5,
               0.5, 1e-12);
    check_pair(options_of(dpo_variant::hinge, 1), two_rows(-200, 200), 401, -1, 1, 1e-12);
    check_pair(options_of(dpo_variant::exo_pair, 1), two_rows(200, -200), -std::log(0.9), 0, 0, 1e-12);
    check_pair(options_of(dpo_variant::exo_pair, 1), two_rows(-200, 200), -std::log(0.1), 0, 0, 1e-12);
    check_pair(options_of(dpo_variant::nca_pair, 1), two_rows(200, -200), 100, 0.5, 0, 1e-12);
    check_pair(options_of(dpo_variant::nca_pair, 1), two_rows(-200, 200), 300, -1, 0.5, 1e-12);
    check_pair(options_of(dpo_variant::bco_pair, 1), two_rows(-200, 200), 400, -1, 1, 1e-12);
    check_pair(options_of(dpo_variant::apo_zero, 1), two_rows(-200, 200), 2, 0, 0, 1e-12);
    check_pair(options_of(dpo_variant::apo_down, 1), two_rows(200, -200), 1, 0, 0, 1e-12);
}

TEST_CASE("Trap 25: the slope of the log-sigmoid keeps its digits for both signs") {
    // sigmoid(-h) at h = 40 is exp(-40), not 1 - 1; at h = -40 it is 1.
    const pair_result right = run(dpo{.beta = 1}, two_rows(20, -20));
    REQUIRE(gap(right.gradient[0][0] / -std::exp(-40.0), 1) < 1e-12);
    REQUIRE(gap(right.stats.loss / std::exp(-40.0), 1) < 1e-12);
    const pair_result wrong = run(dpo{.beta = 1}, two_rows(-20, 20));
    REQUIRE(wrong.gradient[0][0] == -1);
    REQUIRE(wrong.stats.loss == 40);
}

TEST_CASE("dpo at kinks: a hinge that is just satisfied has no gradient") {
    const dpo hinge{.variant = dpo_variant::hinge, .beta = 1};
    check_pair(hinge, two_rows(1, 0), 0, 0, 0, 1e-15);
    check_pair(hinge, two_rows(0.5, -0.5), 0, 0, 0, 1e-15);
    check_pair(hinge, two_rows(0.75, 0), 0.25, -1, 1, 1e-15);
    check_pair(hinge, two_rows(2, 0), 0, 0, 0, 1e-15);
}

TEST_CASE("dpo: a policy equal to its reference has loss log 2 and an accuracy of one half") {
    const pair_result r = run(dpo{}, two_rows(0, 0, 3, 5));
    REQUIRE(gap(r.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(r.stats.accuracy == 0.5);
    REQUIRE(gap(r.gradient[0], std::vector<double>(3, -0.05)) < 1e-15);
}

TEST_CASE("dpo robust: the expected loss under flipped labels is the loss of clean labels") {
    dice d(1);
    for (int i = 0; i < 500; ++i) {
        const double e = d.uniform(0, 0.49), x = 3 * d.normal(), y = 3 * d.normal();
        const dpo loss{.variant = dpo_variant::robust, .beta = 0.5, .label_smoothing = e};
        pair_case flipped = two_rows(x, y);
        flipped.pairs = {{0, 1, 1 - e}, {1, 0, e}};
        const pair_result noisy = run(loss, flipped), clean = run(dpo{.beta = 0.5}, two_rows(x, y));
        REQUIRE(gap(noisy.stats.loss, clean.stats.loss) < 1e-12 / (1 - 2 * e));
        REQUIRE(gap(noisy.gradient, clean.gradient) < 1e-12 / (1 - 2 * e));
    }
}

TEST_CASE("dpo: cDPO and exo_pair are at rest where the reward gap is the log-odds of the labels") {
    const double e = 0.2, odds = std::log((1 - e) / e);
    check_pair({.beta = 1, .label_smoothing = e}, two_rows(odds, 0), -(1 - e) * std::log(1 - e) - e * std::log(e), 0, 0,
               1e-12);
    check_pair({.variant = dpo_variant::exo_pair, .beta = 1, .label_smoothing = e}, two_rows(odds, 0), 0, 0, 0, 1e-12);
    check_pair({.variant = dpo_variant::ipo, .beta = 0.25}, two_rows(2, 0), 0, 0, 0, 1e-12);  // 1 / (2 beta)
    check_pair({.variant = dpo_variant::sppo_hard, .beta = 0.25}, two_rows(2, -2), 0, 0, 0, 1e-12);
}

TEST_CASE("dpo: a row in several pairs gets the sum of its slopes, weighted") {
    pair_case c{{{-1}, {-2}, {-3}}, {{-1}, {-2}, {-3}}, {}, {{0, 1, 3}, {1, 2, 1}}};
    const pair_result r = run(dpo{.beta = 1}, c);
    REQUIRE(gap(r.gradient, table{{-0.375}, {0.375 - 0.125}, {0.125}}) < 1e-15);
}

TEST_CASE("dpo: an empty or masked row is a reward of 0 that does not learn; its partner does") {
    for (const bool average : {false, true}) {
        const dpo loss{.beta = 1, .length_average = average, .sft_coefficient = 1};
        const pair_case empty{{{}, {-2}}, {{}, {-1}}, {}, {{0, 1}}};
        const pair_result r = run(loss, empty);
        REQUIRE(gap(r.stats.loss, std::log1p(std::exp(-1))) < 1e-15);
        REQUIRE(gap(r.gradient[1], {sig(-1)}) < 1e-15);
        const pair_case masked{{{not_a_number, -9}, {-2}}, {{-1, -9}, {-1}}, {{0, 0}, {1}}, {{0, 1}}};
        const pair_result m = run(loss, masked);
        REQUIRE(same_bits(m.stats.loss, r.stats.loss));
        REQUIRE(gap(m.gradient, table{{0, 0}, {sig(-1)}}) < 1e-15);
    }
}

TEST_CASE("dpo refuses options out of range by name, and label smoothing where a variant has none") {
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(dpo{.beta = x}, "dpo", "beta"));
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(dpo{.sft_coefficient = x}, "dpo", "sft_coefficient"));
    for (const double x : {infinity, -infinity, not_a_number}) REQUIRE(refuses(dpo{.alpha = x}, "dpo", "alpha"));
    for (const double x : {0.0, 1e-7, 1.1, not_a_number}) REQUIRE(refuses(dpo{.tau = x}, "dpo", "tau"));
    for (const dpo_variant v : variants) {
        for (const double x : {-0.1, 0.5, 0.7, not_a_number})
            REQUIRE(refuses(dpo{.variant = v, .label_smoothing = x}, "dpo", "label_smoothing"));
        REQUIRE(refuses(dpo{.variant = v, .label_smoothing = 0.1}, "dpo", "label_smoothing") == !smooths(v));
        REQUIRE(refuses(dpo{.variant = v}, "dpo", "label_smoothing") == (v == dpo_variant::exo_pair));
    }
    REQUIRE_THROWS_AS(run(dpo{.beta = 0}, two_rows(1, 0)), rlgaf::option_error);
    STATIC_REQUIRE(!dpo::row_separable);
}

namespace {
/// A loss whose terms carry numbers of the pairs besides.
struct with_numbers {
    dpo loss;
    std::vector<double> margin, factor;
    template <class T>
    rlgaf::preference_stats operator()(const rlgaf::preference_terms<T>& given, rlgaf::workspace& work,
                                       const rlgaf::ragged_view<T>& d_log_prob) const {
        rlgaf::preference_terms<T> terms = given;
        terms.margin = margin, terms.factor = factor;
        return loss(terms, work, d_log_prob);
    }
};
}  // namespace

TEST_CASE("dpo with another divergence, margins and factors is the definition, and its gradient the slope") {
    dice d(2309);
    std::size_t compared = 0;
    for (int i = 0; i < 6000; ++i) {
        CAPTURE(i);
        with_numbers o{random_options(d), {}, {}};
        o.loss.divergence = static_cast<reference_divergence>(d.below(4));
        o.loss.alpha = d.chance(0.2) ? 1 : d.uniform(-1, 2);
        pair_case c = random_pair_case(d);
        bool far = false;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b) far = far || std::abs(sums_of(c, b).ratio) > 3;
        if (far) continue;  // plain logarithms of plain sigmoids end there
        for (std::size_t p = 0; p < c.pairs.size(); ++p) {
            if (knows_gap_only(o.loss.variant)) o.margin.push_back(d.normal());
            o.factor.push_back(d.chance(0.1) ? 0 : d.uniform(0, 2));
        }
        if (d.chance(0.3)) o.margin.clear();
        if (d.chance(0.3)) o.factor.clear();
        std::size_t p = 0;
        bool kink = false;
        const auto expected =
            stats_by_definition(c, o.loss.beta, [&](const row_sums& chosen, const row_sums& rejected) {
                const double margin = o.margin.empty() ? 0 : o.margin[p];
                const double factor = o.factor.empty() ? 1 : o.factor[p];
                ++p;
                const double h = rewarded(o.loss, chosen) - rewarded(o.loss, rejected) - margin;
                kink = kink || (o.loss.variant == dpo_variant::hinge && gap(h, 1) < 1e-3);
                return factor * paper(o.loss, chosen, rejected, margin);
            });
        const pair_result r = run(o, c);
        REQUIRE(gap(r.stats.loss, expected.loss) < 1e-9 * (1 + std::abs(expected.loss)));
        REQUIRE(gap(r.stats.margin, expected.margin) < 1e-11);
        if (!kink) compared += check_pair_slopes(o, c);
        if (i % 10 == 0) check_pair_storage(o, c, d);
    }
    REQUIRE(compared > 9000);
}

TEST_CASE("dpo: the divergences by hand, at 0 and far away") {
    using rlgaf::score_ratio;
    for (const auto f : {reference_divergence::reverse_kl, reference_divergence::forward_kl, reference_divergence::js,
                         reference_divergence::alpha}) {
        REQUIRE(gap(score_ratio(f, 0.5, 0).value, 0) < 2e-16);
        REQUIRE(gap(score_ratio(f, 0.5, 0).slope, f == reference_divergence::js ? 0.5 : 1) < 2e-16);
        for (const double x : {-200.0, 200.0, -1e4, 1e4}) {
            REQUIRE(std::abs(score_ratio(f, 0.5, x).value) < 1e9);
            REQUIRE(score_ratio(f, 0.5, x).slope >= 0);
        }
    }
    REQUIRE(gap(score_ratio(reference_divergence::forward_kl, 0, std::log(2)).value, 0.5) < 1e-15);
    REQUIRE(gap(score_ratio(reference_divergence::js, 0, std::log(2)).value, std::log(4.0 / 3)) < 1e-15);
    REQUIRE(gap(score_ratio(reference_divergence::alpha, 2, std::log(2)).value, 1) < 1e-15);
    REQUIRE(gap(score_ratio(reference_divergence::alpha, 0, 0.7).value,
                score_ratio(reference_divergence::forward_kl, 0, 0.7).value) < 1e-15);
    // alpha -> 1 is reverse_kl without a jump.
    REQUIRE(gap(score_ratio(reference_divergence::alpha, 1 + 1e-9, 3).value, 3) < 1e-7);
    REQUIRE(score_ratio(reference_divergence::alpha, 1, 3).value == 3);
    // At the limit of the exponent there still is a slope, beyond it none.
    REQUIRE(score_ratio(reference_divergence::forward_kl, 0, -20).slope == std::exp(20.0));
    REQUIRE(score_ratio(reference_divergence::forward_kl, 0, -20.001).slope == 0);
}

TEST_CASE("dpo: a margin moves the gap, a factor scales loss and gradient but no share") {
    const pair_case c = two_rows(1, -0.5, 2, 4);
    const pair_result shifted = run(with_numbers{{}, {0.15}, {}}, c);  // h = 0.15
    REQUIRE(gap(shifted.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(gap(shifted.stats.margin, 0.15) < 1e-15);  // the rewards stay
    pair_case twice = c;
    twice.pairs = {{0, 1}, {0, 1}};
    const pair_result plain = run(dpo{}, c), scaled = run(with_numbers{{}, {}, {3, 1}}, twice);
    REQUIRE(gap(scaled.stats.loss, 2 * plain.stats.loss) < 1e-15);
    REQUIRE(gap(scaled.gradient[0][0], 2 * plain.gradient[0][0]) < 1e-15);
    REQUIRE(gap(scaled.stats.chosen, plain.stats.chosen) < 1e-15);
    REQUIRE(run(with_numbers{{.sft_coefficient = 1}, {}, {0}}, c).stats.loss == 0);
    for (const dpo_variant v : variants) {
        const auto call = [&] { run(with_numbers{options_of(v), {0.5}, {}}, c); };
        REQUIRE(message_of<rlgaf::option_error>(call).starts_with("rlgaf::dpo: .variant: expected one that") !=
                knows_gap_only(v));
    }
    const auto message = [&](const with_numbers& o) { return message_of<rlgaf::shape_error>([&] { run(o, c); }); };
    REQUIRE(message({{}, {1, 2}, {}}) == "rlgaf::dpo: terms.margin: expected 1 elements, got 2");
    REQUIRE(message({{}, {}, {1, 2}}) == "rlgaf::dpo: terms.factor: expected 1 elements, got 2");
}

TEST_CASE("discopop where TRL's product of infinity and 0 is NaN: a gap of -400 pushes like the logistic loss") {
    check_pair(options_of(dpo_variant::discopop, 1), two_rows(-200, 200), 400, -1, 1, 1e-12);
    check_pair(options_of(dpo_variant::discopop, 1), two_rows(200, -200), 0, 0, 0, 1e-12);
    check_pair({.variant = dpo_variant::discopop, .beta = 1, .tau = 1}, two_rows(-200, 200), 401, -1, 1, 1e-12);
    check_pair({.variant = dpo_variant::discopop, .beta = 1, .tau = 1e-6}, two_rows(-2, 1), 3.048587352, -0.952574127,
               0.952574127);
}
