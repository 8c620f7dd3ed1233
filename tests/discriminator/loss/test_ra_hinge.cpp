#include "rlgaf/discriminator/loss/ra_hinge.hpp"
#include "support/relativistic_checks.hpp"

using namespace rlgaf_test;
using rlgaf::ra_hinge;

TEST_CASE("ra_hinge keeps the promises of a discriminator loss, and its gradient goes through the means") {
    check_relativistic_average(
        "ra_hinge", ra_hinge{}, ra_hinge{.per_prompt = true},
        {[](double x) { return x < 1 ? 1 - x : 0; }, [](double x) { return x < 1 ? -1.0 : 0.0; }});
}

TEST_CASE("ra_hinge on three scores a side: the sheet's golden vector") {
    check_scores(ra_hinge{}, 1.222222, {-0.222222, -0.555556, -0.555556}, {0.222222, 0.555556, 0.555556});
}

TEST_CASE("ra_hinge: at the kink there is no gradient; saturated scores") {
    const score_result kink = run(ra_hinge{}, {{1}, {0}, {0}});
    REQUIRE(kink.stats.loss == 0);
    REQUIRE(kink.d_real[0] == 0);
    REQUIRE(kink.d_fake[0] == 0);
    REQUIRE(run(ra_hinge{}, {{1 - 1e-9}, {0}, {0}}).d_real[0] == -2);
    const score_result right = run(ra_hinge{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    const score_result wrong = run(ra_hinge{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 2 * 20001.0);
    REQUIRE(wrong.d_fake[0] == 2);
}
