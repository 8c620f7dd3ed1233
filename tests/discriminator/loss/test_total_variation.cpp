#include "rlgaf/discriminator/loss/f_gan.hpp"
#include "rlgaf/discriminator/loss/total_variation.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::total_variation;

TEST_CASE("total_variation keeps the promises of a pointwise loss") {
    check_pointwise_loss(
        "total_variation", [](dice&) { return total_variation{}; }, 2);
}

TEST_CASE("total_variation on three scores a side: twice the f-GAN row of the sheet") {
    check_scores(total_variation{}, 2 * -0.141797, {-0.023550, -0.262150, -0.305046}, {0.139992, 0.211580, 0.330022});
    const rlgaf::f_gan half{.kind = rlgaf::divergence::total_variation};
    const score_result r = run(total_variation{}, sheet_scores()), h = run(half, sheet_scores());
    REQUIRE(r.stats.loss == 2 * h.stats.loss);
    for (std::size_t i = 0; i < 3; ++i) REQUIRE(gap(r.d_real[i], 2 * h.d_real[i]) < 1e-16);
}

TEST_CASE("total_variation: saturated scores give the sum of |expert - policy|, which no score exceeds") {
    const two_distributions both{{0.7, 0.3}, {0.2, 0.8}};
    const score_result best = both.expected(total_variation{}, {1e4, -1e4});
    REQUIRE(gap(best.stats.loss, -1) < 1e-15);
    for (const auto* x : {&best.d_real, &best.d_fake}) REQUIRE(*x == std::vector<double>{0, 0});
    dice d(5);
    for (int i = 0; i < 300; ++i)
        REQUIRE(both.expected(total_variation{}, {3 * d.normal(), 3 * d.normal()}).stats.loss > -1);
}

TEST_CASE("total_variation: confidently wrong scores have lost their gradient") {
    const score_result wrong = run(total_variation{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 2);
    REQUIRE(wrong.d_real[0] == 0);
    REQUIRE(wrong.d_fake[0] == 0);
    const double small = run(total_variation{}, {{-20}, {}, {}}).d_real[0];
    REQUIRE(gap(small / (-4 * std::exp(-40.0)), 1) < 1e-14);  // 1 - tanh^2 in the plain form is 0 here
}
