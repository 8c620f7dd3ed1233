#include "rlgaf/discriminator/loss/wgan.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::wgan;

TEST_CASE("wgan keeps the promises of a pointwise loss") {
    check_pointwise_loss(
        "wgan", [](dice&) { return wgan{}; }, 10);
}

TEST_CASE("wgan on three scores a side: the sheet's golden vector") {
    check_scores(wgan{}, -0.666667, std::vector<double>(3, -0.333333), std::vector<double>(3, 0.333333));
}

TEST_CASE("wgan sees differences only, and never stops pushing") {
    const score_result near = run(wgan{}, {{1}, {0}, {0}}), moved = run(wgan{}, {{1e4}, {9999}, {0}});
    REQUIRE(near.stats.loss == -1);
    REQUIRE(moved.stats.loss == -1);
    const score_result far = run(wgan{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(far.stats.loss == -2e4);
    REQUIRE(far.d_real[0] == -1);
    REQUIRE(far.d_fake[0] == 1);
}

TEST_CASE("wgan's critic s = x is the best with slopes of at most 1: minus the loss is the earth mover's distance") {
    // outcomes at 0, 1, 3 on a line; mass 0.5 moves from 0 to 3
    const two_distributions both{{0.1, 0.3, 0.6}, {0.6, 0.3, 0.1}};
    REQUIRE(gap(both.expected(wgan{}, {0, 1, 3}).stats.loss, -1.5) < 1e-15);
    REQUIRE(both.expected(wgan{}, {0, 0.5, 2.5}).stats.loss > -1.5);
}
