#include "rlgaf/discriminator/loss/ragan.hpp"
#include "support/relativistic_checks.hpp"

using namespace rlgaf_test;
using rlgaf::ragan;

TEST_CASE("ragan keeps the promises of a discriminator loss, and its gradient goes through the means") {
    check_relativistic_average(
        "ragan", ragan{}, ragan{.per_prompt = true},
        {[](double x) { return rlgaf::softplus(-x); }, [](double x) { return -rlgaf::sigmoid(-x); }});
}

TEST_CASE("ragan on three scores a side: the sheet's golden vector") {
    check_scores(ragan{}, 0.993739, {-0.156404, -0.321168, -0.255394}, {0.181371, 0.300370, 0.251224});
}

TEST_CASE("ragan with saturated scores: finite, and still pushing where the discriminator is wrong") {
    const score_result right = run(ragan{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    REQUIRE(right.stats.accuracy == 1);
    const score_result wrong = run(ragan{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 4e4);
    REQUIRE(wrong.d_real[0] == -2);
    REQUIRE(wrong.d_fake[0] == 2);
}
