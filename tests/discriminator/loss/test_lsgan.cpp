#include "rlgaf/discriminator/loss/lsgan.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::lsgan;

TEST_CASE("lsgan keeps the promises of a pointwise loss") {
    check_pointwise_loss("lsgan", [](dice& d) {
        const double low = d.normal();
        return lsgan{.real_target = low + d.uniform(0.1, 2), .fake_target = low};
    });
}

TEST_CASE("lsgan on three scores a side: the sheet's golden vector") {
    check_scores(lsgan{}, 0.873333, {0.333333, -0.500000, -0.233333}, {-0.333333, 0.233333, 0.033333});
}

TEST_CASE("The optimum of lsgan is (b expert + a policy) / (expert + policy)") {
    const two_distributions both{{0.7, 0.3}, {0.2, 0.8}};
    for (const lsgan& loss : {lsgan{}, lsgan{.fake_target = -1}, lsgan{.real_target = 0.9, .fake_target = 0.2}}) {
        both.check_optimum(loss, [&](double u) { return (loss.real_target * u + loss.fake_target) / (u + 1); });
        REQUIRE(loss.neutral_score() == (loss.real_target + loss.fake_target) / 2);
    }
}

TEST_CASE("lsgan far from its targets, and at them") {
    const score_result far = run(lsgan{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(far.stats.loss == (9999.0 * 9999.0 + 1e8) / 2);
    REQUIRE(far.d_real[0] == 9999);
    REQUIRE(far.d_fake[0] == -1e4);
    const score_result at = run(lsgan{}, {{1, 1}, {0}, {0}});
    REQUIRE(at.stats.loss == 0);
    REQUIRE(at.d_real == std::vector<double>{0, 0});
    REQUIRE(at.d_fake == std::vector<double>{0});
}

TEST_CASE("lsgan refuses options out of range by name") {
    for (const double x : {0.0, -1.0, infinity, not_a_number})
        REQUIRE(refuses(lsgan{.real_target = x}, "lsgan", "real_target"));
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(lsgan{.fake_target = x}, "lsgan", "fake_target"));
    REQUIRE_THROWS_AS(run(lsgan{.real_target = -1}, sheet_scores()), rlgaf::option_error);
}
