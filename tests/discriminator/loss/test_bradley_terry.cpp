#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::bradley_terry;

TEST_CASE("bradley_terry keeps the promises of a discriminator loss") {
    check_discriminator_loss("bradley_terry", [](dice& d) {
        return bradley_terry{.margin = d.normal(),
                             .centering = d.chance(0.5) ? 0 : d.uniform(0, 0.1),
                             .score_penalty = d.chance(0.5) ? 0 : d.uniform(0, 0.1),
                             .noise = d.chance(0.5) ? 0 : d.uniform(0, 0.9)};
    });
}

TEST_CASE("bradley_terry on three pairs: the sheet's golden vectors") {
    check_scores(bradley_terry{.score_penalty = 0}, 0.703336, {-0.015809, -0.256175, -0.150055},
                 {0.015809, 0.256175, 0.150055});
    check_scores(bradley_terry{.margin = 0.5, .score_penalty = 0}, 0.933677, {-0.025286, -0.281845, -0.191481},
                 {0.025286, 0.281845, 0.191481});
    check_scores(bradley_terry{.centering = 0.01, .score_penalty = 0}, 0.707336, {-0.009142, -0.254842, -0.147389},
                 {0.022475, 0.257508, 0.152722});
    check_scores(bradley_terry{.score_penalty = 0, .noise = 0.1}, 0.686011, {-0.014937, -0.206592, -0.136285},
                 {0.014937, 0.206592, 0.136285});
    // PRISM's penalty, c (s_t^2 + s_k^2) / 2 with c = 0.3: mean of the squares' half sums is (5 + 0.74 + 0.1) / 6.
    const double push[] = {0.015809, 0.256175, 0.150055};
    const score_case s = sheet_scores();
    std::vector<double> d_real, d_fake;
    for (std::size_t i = 0; i < 3; ++i) {
        d_real.push_back(-push[i] + 0.1 * s.real[i]);
        d_fake.push_back(push[i] + 0.1 * s.fake[i]);
    }
    check_scores(bradley_terry{.score_penalty = 0.3}, 0.703336 + 0.3 * (5 + 0.74 + 0.1) / 6, d_real, d_fake);
}

TEST_CASE("bradley_terry over all pairs of the sheet's scores, as samples that share demonstrations") {
    score_case all;
    const score_case s = sheet_scores();
    all.real = s.real;
    for (const double f : s.fake)
        for (std::uint32_t i = 0; i < 3; ++i) all.fake.push_back(f), all.pairs.push_back(i);
    const score_result r = run(bradley_terry{.score_penalty = 0}, all);
    REQUIRE(gap(r.stats.loss, 0.572888) < 1e-6);
    REQUIRE(gap(r.d_real, {-0.043522, -0.199080, -0.140335}) < 1e-6);
    const double expected[] = {0.071015, 0.175709, 0.136215};
    for (std::size_t j = 0; j < 3; ++j)
        REQUIRE(gap(r.d_fake[3 * j] + r.d_fake[3 * j + 1] + r.d_fake[3 * j + 2], expected[j]) < 1e-6);
    REQUIRE(gap(r.stats.accuracy, 6.0 / 9) < 1e-12);  // 0.3 and 2 above 0.1; 2 above 0.7; all three above -1
}

TEST_CASE("The reward-model row of the policy sheet: rc = 1, rj = 0.4, margin 0.3") {
    const score_result r = run(bradley_terry{.margin = 0.3, .score_penalty = 0}, {{1}, {0.4}, {0}});
    REQUIRE(gap(r.stats.loss, 0.554355) < 1e-6);
    REQUIRE(gap(r.d_real, {-0.425557}) < 1e-6);
}

TEST_CASE("bradley_terry with saturated scores: finite, and still pushing where the discriminator is wrong") {
    const bradley_terry loss{.score_penalty = 0};
    const score_result right = run(loss, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    REQUIRE(right.stats.accuracy == 1);
    const score_result wrong = run(loss, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 2e4);
    REQUIRE(wrong.d_real[0] == -1);
    REQUIRE(wrong.d_fake[0] == 1);
    REQUIRE(wrong.stats.accuracy == 0);
}

TEST_CASE("bradley_terry with noise is -log(noise / 2 + (1 - noise) sigmoid), and forgives what looks mislabelled") {
    for (const double noise : {1e-12, 1e-3, 0.1, 0.5, 0.999})
        for (double gap_of_scores = -49; gap_of_scores < 50; gap_of_scores += 0.7) {
            CAPTURE(noise, gap_of_scores);
            const score_result r = run(bradley_terry{.score_penalty = 0, .noise = noise}, {{gap_of_scores}, {0}, {0}});
            const double s = 1 / (1 + std::exp(-gap_of_scores)), p = noise / 2 + (1 - noise) * s;
            REQUIRE(gap(r.stats.loss, -std::log(p)) < 1e-13 * (1 + std::abs(gap_of_scores)));
            REQUIRE(gap(r.d_real[0], -(1 - noise) * s / (1 + std::exp(gap_of_scores)) / p) < 1e-13);
            REQUIRE(r.d_fake[0] == -r.d_real[0]);
        }
    const bradley_terry loss{.score_penalty = 0, .noise = 0.1};
    REQUIRE(std::abs(run(loss, {{-30}, {0}, {0}}).d_real[0]) < 1e-11);  // without noise: 1
    const score_result wrong = run(loss, {{-1e4}, {1e4}, {0}}), right = run(loss, {{1e4}, {-1e4}, {0}});
    REQUIRE(gap(wrong.stats.loss, -std::log(0.05)) < 1e-11);
    REQUIRE(gap(right.stats.loss, -std::log(0.95)) < 1e-11);
    REQUIRE(wrong.d_real[0] == 0);
    REQUIRE(right.d_real[0] == 0);
    REQUIRE(run(loss, {{20}, {0}, {0}}).d_real[0] < 0);
    REQUIRE(std::isfinite(run(bradley_terry{.noise = 1e-310}, {{-1e4}, {1e4}, {0}}).stats.loss));
}

TEST_CASE("bradley_terry: ties, no samples, and a demonstration without a sample") {
    const score_result tie = run(bradley_terry{.score_penalty = 0}, {{1}, {1}, {0}});
    REQUIRE(gap(tie.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(tie.stats.accuracy == 0.5);
    REQUIRE(gap(tie.d_real, {-0.5}) < 1e-15);
    const score_result none = run(bradley_terry{}, {{1, 2}, {}, {}});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(none.stats.accuracy == 0.5);
    REQUIRE(none.stats.real_mean == 1.5);
    REQUIRE(gap(none.d_real, {0, 0}) == 0);
    REQUIRE(run(bradley_terry{}, {{1, 2}, {0}, {0}}).d_real[1] == 0);
}

TEST_CASE("bradley_terry needs pairs, and refuses options out of range by name") {
    const score_case unpaired{{1}, {0}, {}};
    REQUIRE(message_of<rlgaf::shape_error>([&] { run(bradley_terry{}, unpaired); }) ==
            "rlgaf::bradley_terry: matching.real_of_fake: expected 1 elements, got 0");
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(bradley_terry{.margin = x}, "bradley_terry", "margin"));
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(bradley_terry{.noise = x}, "bradley_terry", "noise"));
    for (const double x : {-0.1, infinity, not_a_number}) {
        REQUIRE(refuses(bradley_terry{.centering = x}, "bradley_terry", "centering"));
        REQUIRE(refuses(bradley_terry{.score_penalty = x}, "bradley_terry", "score_penalty"));
        REQUIRE_THROWS_AS(run(bradley_terry{.centering = x}, sheet_scores()), rlgaf::option_error);
    }
}

TEST_CASE("bradley_terry: the smallest noise is still a number") {
    const double denormal = std::numeric_limits<double>::denorm_min();
    const score_result smallest = run(bradley_terry{.noise = denormal}, sheet_scores());
    const score_result none = run(bradley_terry{}, sheet_scores());
    REQUIRE(gap(smallest.stats.loss, none.stats.loss) < 1e-12);
    REQUIRE(gap(smallest.d_real, none.d_real) < 1e-12);
}

TEST_CASE(
    "bradley_terry: samples in the demonstrations' order, in runs and in no order give the same, over blocks too") {
    dice d(17);
    for (const std::size_t n : {1u, 5u, 128u, 129u, 300u})
        for (const std::size_t start : {0u, 3u}) {
            score_case ordered;
            for (std::size_t i = 0; i < n + start + 2; ++i) ordered.real.push_back(2 * d.normal());
            for (std::size_t j = 0; j < n; ++j) {
                ordered.fake.push_back(2 * d.normal());
                ordered.pairs.push_back(static_cast<std::uint32_t>(start + j));
            }
            const std::vector<std::size_t> order = d.permutation(n);
            score_case shuffled{ordered.real, {}, {}};
            for (const std::size_t j : order) {
                shuffled.fake.push_back(ordered.fake[j]);
                shuffled.pairs.push_back(ordered.pairs[j]);
            }
            const score_result a = run(bradley_terry{}, ordered), b = run(bradley_terry{}, shuffled);
            REQUIRE(gap(a.stats.loss, b.stats.loss) < 1e-13 * (1 + std::abs(a.stats.loss)));
            REQUIRE(a.stats.accuracy == b.stats.accuracy);
            REQUIRE(gap(a.d_real, b.d_real) < 1e-17);
            double sum = 0, above = 0;
            for (std::size_t j = 0; j < n; ++j) {
                REQUIRE(gap(a.d_fake[order[j]], b.d_fake[j]) < 1e-17);
                const double r = ordered.real[start + j], f = ordered.fake[j];
                sum += rlgaf::softplus(f - r) + 5e-4 * (r * r + f * f);
                above += r > f;
            }
            REQUIRE(gap(a.stats.loss, sum / static_cast<double>(n)) < 1e-12);
            REQUIRE(gap(a.stats.accuracy, above / static_cast<double>(n)) < 1e-15);
        }
}
