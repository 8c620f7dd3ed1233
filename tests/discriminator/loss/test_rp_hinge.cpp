#include "rlgaf/discriminator/loss/rp_hinge.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::rp_hinge;

TEST_CASE("rp_hinge keeps the promises of a discriminator loss") {
    check_discriminator_loss("rp_hinge", [](dice& d) { return rp_hinge{.margin = d.uniform(0.1, 3)}; });
}

TEST_CASE("rp_hinge on three pairs, by hand") {
    // gaps 3, -1.2, 0.2
    const double third = 1.0 / 3;
    check_scores(rp_hinge{}, (2.2 + 0.8) / 3, {0, -third, -third}, {0, third, third});
    check_scores(rp_hinge{.margin = 4}, (1 + 5.2 + 3.8) / 3, {-third, -third, -third}, {third, third, third});
}

TEST_CASE("rp_hinge: at the margin and beyond there is no gradient; saturated scores; no samples") {
    REQUIRE(run(rp_hinge{}, {{1}, {0}, {0}}).d_real[0] == 0);
    REQUIRE(run(rp_hinge{}, {{1 - 1e-9}, {0}, {0}}).d_real[0] == -1);
    const score_result right = run(rp_hinge{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_fake[0] == 0);
    const score_result wrong = run(rp_hinge{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 20001);
    REQUIRE(wrong.d_fake[0] == 1);
    const score_result none = run(rp_hinge{}, {{1, 2}, {}, {}});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(gap(none.d_real, {0, 0}) == 0);
}

TEST_CASE("rp_hinge refuses a margin out of range") {
    for (const double x : {0.0, -1.0, infinity, not_a_number})
        REQUIRE(refuses(rp_hinge{.margin = x}, "rp_hinge", "margin"));
    REQUIRE_THROWS_AS(run(rp_hinge{.margin = 0}, sheet_scores()), rlgaf::option_error);
}
