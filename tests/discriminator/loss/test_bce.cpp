#include "rlgaf/discriminator/loss/bce.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::bce;

TEST_CASE("bce keeps the promises of a discriminator loss") {
    const auto any = [](dice& d) { return bce{.smooth_real = d.uniform(0, 0.4), .smooth_fake = d.uniform(0, 0.4)}; };
    check_discriminator_loss("bce", any);
    check_pointwise_loss("bce", any);
}

TEST_CASE("The optimum of bce is the log density ratio; smoothing shrinks it as the sheet says") {
    const two_distributions both{{0.7, 0.3}, {0.2, 0.8}};
    both.check_optimum(bce{}, [](double u) { return std::log(u); });
    both.check_optimum(bce{.smooth_real = 0.1, .smooth_fake = 0.05},
                       [](double u) { return std::log((0.9 * u + 0.05) / (0.1 * u + 0.95)); });
    REQUIRE(bce{}.neutral_score() == 0);
    REQUIRE(gap(bce{.smooth_real = 0.1, .smooth_fake = 0.05}.neutral_score(), std::log(0.95 / 1.05)) < 1e-15);
}

TEST_CASE("bce with weights of the rows") {
    const score_result r = run_weighted(bce{}, weighted_scores{{{0, 1, 2}, {0}, {}}, {0.5, 0, 0.25}, {-1}});
    REQUIRE(gap(r.stats.loss, 0.5 * std::log(2) + 0.25 * 0.12692801104297250 - std::log(2)) < 1e-15);
    REQUIRE(gap(r.d_real, {-0.25, 0, -0.25 * 0.11920292202211755}) < 1e-15);
    REQUIRE(gap(r.d_fake, {-0.5}) < 1e-15);
}

TEST_CASE("bce on three scores a side: the sheet's golden vectors") {
    check_scores(bce{}, 1.272068, {-0.039734, -0.207486, -0.141852}, {0.089647, 0.222729, 0.174993});
    check_scores(bce{.smooth_real = 0.1, .smooth_fake = 0.05}, 1.335402, {-0.006401, -0.174153, -0.108519},
                 {0.072980, 0.206063, 0.158326});
}

TEST_CASE("bce: both sides count the same, whatever their sizes") {
    // L = softplus(-0) + softplus(0) = 2 log 2 for any numbers of zeros
    const score_result r = run(bce{}, {{0, 0, 0, 0}, {0}, {3}});
    REQUIRE(gap(r.stats.loss, 2 * std::log(2)) < 1e-15);
    REQUIRE(gap(r.d_real, std::vector<double>(4, -0.125)) < 1e-15);
    REQUIRE(gap(r.d_fake, {0.5}) < 1e-15);
    REQUIRE(r.stats.accuracy == 0.5);
}

TEST_CASE("bce with saturated scores: finite, and still pushing where the discriminator is wrong") {
    const score_result right = run(bce{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    REQUIRE(right.d_fake[0] == 0);
    const score_result wrong = run(bce{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 2e4);
    REQUIRE(wrong.d_real[0] == -1);
    REQUIRE(wrong.d_fake[0] == 1);
    const score_result smooth = run(bce{.smooth_real = 0.1}, {{1e4}, {}, {}});
    REQUIRE(gap(smooth.stats.loss, 1e3) < 1e-9);
    REQUIRE(gap(smooth.d_real[0], 0.1) < 1e-15);
}

TEST_CASE("bce: a side without rows contributes nothing, and no pairs are needed") {
    const score_result none = run(bce{}, {});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(none.stats.accuracy == 0.5);
    REQUIRE(none.stats.real_mean == 0);
    const score_result real = run(bce{}, {{0}, {}, {}});
    REQUIRE(gap(real.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(real.d_real[0] == -0.5);
    const score_result fake = run(bce{}, {{}, {0, 0}, {}});
    REQUIRE(gap(fake.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(gap(fake.d_fake, {0.25, 0.25}) == 0);
    const score_case pointwise{{2.0, -0.5, 0.3}, {-1.0, 0.7, 0.1}, {}};
    REQUIRE(gap(run(bce{}, pointwise).stats.loss, 1.272068) < 1e-6);
}

TEST_CASE("bce refuses options out of range by name") {
    for (const double x : {-0.1, 0.5, 1.0, not_a_number}) {
        REQUIRE(refuses(bce{.smooth_real = x}, "bce", "smooth_real"));
        REQUIRE(refuses(bce{.smooth_fake = x}, "bce", "smooth_fake"));
    }
    std::vector<double> d_real(3), d_fake(3);
    const score_case c = sheet_scores();
    REQUIRE_THROWS_AS((bce{.smooth_real = 0.5}(rlgaf::discriminator_terms<double>{c.real, c.fake, {c.pairs}},
                                               std::span<double>(d_real), std::span<double>(d_fake))),
                      rlgaf::option_error);
}
