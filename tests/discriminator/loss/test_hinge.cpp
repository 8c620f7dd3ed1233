#include "rlgaf/discriminator/loss/hinge.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::hinge;

TEST_CASE("hinge keeps the promises of a pointwise loss") {
    check_pointwise_loss(
        "hinge", [](dice&) { return hinge{}; }, 3, 1);
}

TEST_CASE("hinge on three scores a side: the sheet's golden vector") {
    check_scores(hinge{}, 1.666667, {0, -0.333333, -0.333333}, {0, 0.333333, 0.333333});
}

TEST_CASE("hinge: a score at its margin has no gradient, the next number on the wrong side has") {
    const score_result at = run(hinge{}, {{1}, {-1}, {0}});
    REQUIRE(at.stats.loss == 0);
    REQUIRE(at.d_real[0] == 0);
    REQUIRE(at.d_fake[0] == 0);
    const double below = std::nextafter(1.0, 0.0);
    const score_result inside = run(hinge{}, {{below}, {-below}, {0}});
    REQUIRE(inside.d_real[0] == -1);
    REQUIRE(inside.d_fake[0] == 1);
}

TEST_CASE("The optimum of hinge is the sign of expert - policy") {
    const two_distributions both{{0.7, 0.3}, {0.2, 0.8}};
    const double best = both.expected(hinge{}, {1, -1}).stats.loss;
    REQUIRE(gap(best, 2 * (0.3 + 0.2)) < 1e-15);  // twice what both have in common
    for (const double a : {-2.0, -1.0, -0.5, 0.0, 0.5, 0.9, 1.1, 2.0})
        for (const double b : {-2.0, -1.1, -0.9, 0.0, 0.5, 1.0, 2.0})
            REQUIRE(both.expected(hinge{}, {a, b}).stats.loss > best);
}

TEST_CASE("hinge with saturated scores") {
    REQUIRE(run(hinge{}, {{1e4}, {-1e4}, {0}}).stats.loss == 0);
    const score_result wrong = run(hinge{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 20002);
    REQUIRE(wrong.d_real[0] == -1);
    REQUIRE(wrong.d_fake[0] == 1);
}
