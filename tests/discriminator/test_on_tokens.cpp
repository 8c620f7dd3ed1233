#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/loss/f_gan.hpp"
#include "rlgaf/discriminator/loss/hinge.hpp"
#include "rlgaf/discriminator/loss/lsgan.hpp"
#include "rlgaf/discriminator/loss/wgan.hpp"
#include "rlgaf/discriminator/on_tokens.hpp"
#include "support/discriminator_checks.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::bce;
using rlgaf::on_tokens;
using rlgaf::token_average;

namespace {
struct token_case {
    table real, fake, real_mask{}, fake_mask{};
};
struct token_result {
    rlgaf::discriminator_loss_stats stats;
    table d_real, d_fake;
};

template <class T = double, class Loss>
token_result run_tokens(const Loss& loss, const token_case& c, layout how = layout::packed, double start = 0) {
    const auto from = [start](auto, auto) { return start; };
    ragged<T> real(c.real, how, static_cast<T>(not_a_number)), fake(c.fake, how, static_cast<T>(not_a_number));
    ragged<T> d_real(table_like(c.real, from), how, T{99}), d_fake(table_like(c.fake, from), how, T{99});
    ragged<std::uint8_t> real_mask(c.real_mask, how, 1), fake_mask(c.fake_mask, how, 1);
    const rlgaf::token_discriminator_terms<T> terms{real.view(), fake.view(), real_mask.view(), fake_mask.view()};
    const auto d_real_view = d_real.view(), d_fake_view = d_fake.view();
    rlgaf::workspace& work = grown_workspace();
    token_result r;
    const std::size_t allocated = allocations_of([&] { r.stats = loss(terms, d_real_view, d_fake_view, work); });
    REQUIRE(allocated == 0);
    REQUIRE(d_real.guards_intact());
    REQUIRE(d_fake.guards_intact());
    r.d_real = d_real.rows(), r.d_fake = d_fake.rows();
    return r;
}

/// Scores whose masked slots are NaN.
token_case random_tokens(dice& d) {
    token_case c{random_shape(d, 5, 5), random_shape(d, 5, 5)};
    c.real_mask = random_mask(d, c.real), c.fake_mask = random_mask(d, c.fake);
    const auto fill = [&](table& score, const table& mask) {
        score = table_like(score, [&](auto b, auto t) { return included(mask, b, t) ? 3 * d.normal() : not_a_number; });
    };
    fill(c.real, c.real_mask), fill(c.fake, c.fake_mask);
    return c;
}

/// The weight of every unmasked token, 0 elsewhere.
table weights(const table& score, const table& mask, token_average average) {
    table w = zeros(score);
    double all = 0, filled = 0;
    for (std::size_t b = 0; b < score.size(); ++b) {
        double n = 0;
        for (std::size_t t = 0; t < score[b].size(); ++t) n += included(mask, b, t);
        all += n, filled += n > 0;
        for (std::size_t t = 0; t < score[b].size(); ++t)
            if (included(mask, b, t)) w[b][t] = average == token_average::rows ? 1 / n : 1;
    }
    for (auto& row : w)
        for (double& v : row) v /= average == token_average::rows ? filled : all;
    return w;
}

/// Against the inner loss on one score after the other.
template <class Loss>
void check_tokens(const Loss& inner, double border, const token_case& c, token_average average, layout how) {
    const on_tokens loss{inner, average};
    const token_result r = run_tokens(loss, c, how), added = run_tokens(loss, c, how, 5);
    double value = 0, accuracy = 0, sides = 0;
    const auto side = [&](bool real) {
        const table &score = real ? c.real : c.fake, &mask = real ? c.real_mask : c.fake_mask;
        const table w = weights(score, mask, average);
        double mean = 0, right = 0, total = 0;
        for (std::size_t b = 0; b < score.size(); ++b)
            for (std::size_t t = 0; t < score[b].size(); ++t) {
                const double slope = (real ? r.d_real : r.d_fake)[b][t];
                if (!included(mask, b, t)) {
                    REQUIRE(slope == 0);
                    REQUIRE((real ? added.d_real : added.d_fake)[b][t] == 5);
                    continue;
                }
                const double s = score[b][t];
                const score_result one =
                    real ? run(inner, score_case{{s}, {}, {}}) : run(inner, score_case{{}, {s}, {}});
                value += w[b][t] * one.stats.loss;
                REQUIRE(gap(slope, w[b][t] * (real ? one.d_real : one.d_fake)[0]) < 1e-14);
                REQUIRE(gap((real ? added.d_real : added.d_fake)[b][t], 5 + slope) < 1e-14);
                mean += w[b][t] * s, total += w[b][t];
                right += w[b][t] * ((real ? s > border : s < border) + 0.5 * (s == border));
            }
        REQUIRE(gap(real ? r.stats.real_mean : r.stats.fake_mean, mean) < 1e-12);
        if (total > 0) accuracy += right, sides += 1;
    };
    side(true), side(false);
    REQUIRE(gap(r.stats.loss, value) < 1e-12 * (1 + std::abs(value)));
    REQUIRE(gap(r.stats.accuracy, sides > 0 ? accuracy / sides : 0.5) < 1e-12);
}
}  // namespace

TEST_CASE("on_tokens is the inner loss of every unmasked token, in both layouts and both averages") {
    dice d(1905);
    for (int i = 0; i < 700; ++i) {
        CAPTURE(i);
        const token_case c = random_tokens(d);
        for (const layout how : layouts)
            for (const token_average average : {token_average::tokens, token_average::rows}) {
                check_tokens(bce{.smooth_real = 0.1}, std::log(0.9 / 1.1), c, average, how);
                check_tokens(rlgaf::hinge{}, 0, c, average, how);
                check_tokens(rlgaf::wgan{}, 0, c, average, how);
                check_tokens(rlgaf::lsgan{}, 0.5, c, average, how);
            }
    }
}

TEST_CASE("The derivatives of on_tokens agree with finite differences") {
    dice d(5);
    for (int i = 0; i < 300; ++i) {
        token_case c = random_tokens(d);
        for (const token_average average : {token_average::tokens, token_average::rows}) {
            const on_tokens loss{bce{}, average};
            const token_result r = run_tokens(loss, c);
            const auto value = [&] { return run_tokens(loss, c).stats.loss; };
            for (const bool real : {true, false}) {
                table& score = real ? c.real : c.fake;
                for (std::size_t b = 0; b < score.size(); ++b)
                    for (std::size_t t = 0; t < score[b].size() && t < 6; ++t)
                        REQUIRE(gap((real ? r.d_real : r.d_fake)[b][t],
                                    included(real ? c.real_mask : c.fake_mask, b, t) ? slope(value, score[b][t]) : 0) <
                                1e-8);
            }
        }
    }
}

TEST_CASE("on_tokens by hand: two texts, of one and of three tokens") {
    const token_case c{{{0}, {0, 0, 0}}, {{0, 9}, {}, {0}}, {}, {{1, 0}, {}, {1}}};
    const token_result tokens = run_tokens(on_tokens{bce{}}, c);
    REQUIRE(gap(tokens.stats.loss, 2 * std::log(2)) < 1e-15);
    REQUIRE(tokens.d_real == table{{-0.125}, {-0.125, -0.125, -0.125}});
    REQUIRE(tokens.d_fake == table{{0.25, 0}, {}, {0.25}});
    REQUIRE(tokens.stats.accuracy == 0.5);
    const token_result rows = run_tokens(on_tokens{bce{}, token_average::rows}, c);
    REQUIRE(gap(rows.stats.loss, 2 * std::log(2)) < 1e-15);
    REQUIRE(gap(rows.d_real[0], {-0.25}) < 1e-16);
    REQUIRE(gap(rows.d_real[1], std::vector<double>(3, -0.25 / 3)) < 1e-16);
    REQUIRE(rows.d_fake == tokens.d_fake);
}

TEST_CASE("on_tokens does not count masked slots; ScratchGAN's code adds log 2 for each") {
    const table score = {{1, not_a_number, not_a_number, not_a_number}}, mask = {{1, 0, 0, 0}};
    const token_result r = run_tokens(on_tokens{bce{}}, {score, {}, mask, {}});
    REQUIRE(gap(r.stats.loss, std::log1p(std::exp(-1.0))) < 1e-15);
    const double scratch_gan = (std::log1p(std::exp(-1.0)) + 3 * std::log(2)) / 4;
    REQUIRE(gap(r.stats.loss, scratch_gan) > 0.1);
}

TEST_CASE("on_tokens with nothing to see: no rows, no tokens, all masked") {
    for (const token_average average : {token_average::tokens, token_average::rows})
        for (const token_case& c : {token_case{}, token_case{{{}, {}}, {{}}}, token_case{{{1, 2}}, {}, {{0, 0}}, {}}}) {
            const token_result r = run_tokens(on_tokens{bce{}, average}, c);
            REQUIRE(r.stats.loss == 0);
            REQUIRE(r.stats.accuracy == 0.5);
            REQUIRE(r.stats.real_mean == 0);
            REQUIRE(r.d_real == zeros(c.real));
        }
    const token_result one_side = run_tokens(on_tokens{bce{}}, {{{2, -1}}, {{5}}, {}, {{0}}});
    REQUIRE(one_side.stats.accuracy == 0.5);  // one of two tokens
    REQUIRE(run_tokens(on_tokens{bce{}}, {{{2, 1}}, {}}).stats.accuracy == 1);
    REQUIRE(run_tokens(on_tokens{bce{}}, {{}, {{2, 1}}}).stats.accuracy == 0);
}

TEST_CASE("on_tokens takes its border from the inner loss") {
    // every score is 0.75: above lsgan's 0.5, below kl's 1, above bce's 0
    const token_case c{{{0.75}}, {{0.75, 0.75}}};
    for (const auto& r : {run_tokens(on_tokens{rlgaf::lsgan{}}, c), run_tokens(on_tokens{bce{}}, c)})
        REQUIRE(r.stats.accuracy == 0.5);
    const token_case real_only{{{0.75}}, {}};
    REQUIRE(run_tokens(on_tokens{rlgaf::lsgan{}}, real_only).stats.accuracy == 1);
    REQUIRE(run_tokens(on_tokens{rlgaf::f_gan{rlgaf::divergence::kl}}, real_only).stats.accuracy == 0);
    REQUIRE(run_tokens(on_tokens{rlgaf::lsgan{.real_target = 1.5}}, real_only).stats.accuracy == 0.5);
}

TEST_CASE("on_tokens in float computes in double") {
    dice d(6);
    for (int i = 0; i < 300; ++i) {
        token_case c = random_tokens(d);
        c.real = as_float(c.real), c.fake = as_float(c.fake);
        const token_result wide = run_tokens(on_tokens{bce{}}, c),
                           narrow = run_tokens<float>(on_tokens{bce{}}, c, layout::padded);
        REQUIRE(narrow.stats.loss == wide.stats.loss);
        REQUIRE(narrow.d_real == as_float(wide.d_real));
        REQUIRE(narrow.d_fake == as_float(wide.d_fake));
    }
}

TEST_CASE("on_tokens refuses shapes that do not fit, by name") {
    ragged<double> good({{1, 2}}, layout::packed, 0), bad({{1}}, layout::packed, 0), d({{0, 0}}, layout::packed, 0);
    ragged<std::uint8_t> mask({{1}}, layout::packed, 0);
    rlgaf::workspace work;
    const auto message = [&](const rlgaf::token_discriminator_terms<double>& terms, auto& d_real, auto& d_fake) {
        return message_of<rlgaf::shape_error>([&] { on_tokens{bce{}}(terms, d_real.view(), d_fake.view(), work); });
    };
    REQUIRE(message({good.view(), good.view()}, d, d) == "nothing thrown");
    REQUIRE(message({good.view(), good.view()}, bad, d) == "rlgaf::on_tokens: d_real row 0: expected 2 tokens, got 1");
    REQUIRE(message({good.view(), good.view()}, d, bad) == "rlgaf::on_tokens: d_fake row 0: expected 2 tokens, got 1");
    REQUIRE(message({good.view(), good.view(), mask.view()}, d, d) ==
            "rlgaf::on_tokens: terms.real_mask row 0: expected 2 tokens, got 1");
    REQUIRE(message({good.view(), good.view(), {}, mask.view()}, d, d) ==
            "rlgaf::on_tokens: terms.fake_mask row 0: expected 2 tokens, got 1");
}

TEST_CASE("on_tokens checks the inner loss's options, refuses pairs, and rows for a loss without weights") {
    const token_case c{{{1}}, {{0}}};
    REQUIRE_THROWS_AS(run_tokens(on_tokens{bce{.smooth_real = 0.5}}, c), rlgaf::option_error);
    REQUIRE_THROWS_AS((on_tokens{bce{.smooth_real = 0.5}}.check()), rlgaf::option_error);
    REQUIRE_THROWS_AS(run_tokens(on_tokens{rlgaf::bradley_terry{}}, c), rlgaf::shape_error);
    REQUIRE(refuses(on_tokens{rlgaf::bradley_terry{}, token_average::rows}, "on_tokens", "average"));
    on_tokens{bce{}, token_average::rows}.check();
}
