#include "rlgaf/discriminator/loss/ra_ls.hpp"
#include "support/relativistic_checks.hpp"

using namespace rlgaf_test;
using rlgaf::ra_ls;

TEST_CASE("ra_ls keeps the promises of a discriminator loss, and its gradient goes through the means") {
    check_relativistic_average("ra_ls", ra_ls{}, ra_ls{.per_prompt = true},
                               {[](double x) { return (x - 1) * (x - 1); }, [](double x) { return 2 * (x - 1); }});
}

TEST_CASE("ra_ls on three scores a side: the sheet's golden vector") {
    check_scores(ra_ls{}, 1.804444, {0.488889, -1.177778, -0.644444}, {-0.177778, 0.955556, 0.555556});
}

TEST_CASE("ra_ls with saturated scores: finite, and pulled back") {
    const score_result far = run(ra_ls{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(far.stats.loss == 2 * 19999.0 * 19999.0);
    REQUIRE(far.d_real[0] == 4 * 19999.0);
    REQUIRE(far.d_fake[0] == -4 * 19999.0);
}
