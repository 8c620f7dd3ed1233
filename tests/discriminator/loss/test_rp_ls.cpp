#include "rlgaf/discriminator/loss/rp_ls.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::rp_ls;

TEST_CASE("rp_ls keeps the promises of a discriminator loss") {
    check_discriminator_loss("rp_ls", [](dice& d) { return rp_ls{.margin = d.uniform(0.1, 3)}; });
}

TEST_CASE("rp_ls on three pairs, by hand") {
    // gaps 3, -1.2, 0.2; minus 1: 2, -2.2, -0.8
    check_scores(rp_ls{}, (4 + 4.84 + 0.64) / 3, {4.0 / 3, -4.4 / 3, -1.6 / 3}, {-4.0 / 3, 4.4 / 3, 1.6 / 3});
    check_scores(rp_ls{.margin = 3}, (0 + 17.64 + 7.84) / 3, {0, -8.4 / 3, -5.6 / 3}, {0, 8.4 / 3, 5.6 / 3});
}

TEST_CASE("rp_ls: a gap beyond the margin is pulled back, saturated scores stay finite, no samples are no loss") {
    const score_result far = run(rp_ls{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(far.stats.loss == 19999.0 * 19999.0);
    REQUIRE(far.d_real[0] == 2 * 19999.0);
    REQUIRE(far.stats.accuracy == 1);
    const score_result wrong = run(rp_ls{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.d_real[0] == -2 * 20001.0);
    const score_result none = run(rp_ls{}, {{1, 2}, {}, {}});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(gap(none.d_real, {0, 0}) == 0);
}

TEST_CASE("rp_ls refuses a margin out of range") {
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(rp_ls{.margin = x}, "rp_ls", "margin"));
    REQUIRE_THROWS_AS(run(rp_ls{.margin = 0}, sheet_scores()), rlgaf::option_error);
}
