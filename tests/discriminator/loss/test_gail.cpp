#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/gail.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::gail;

TEST_CASE("gail keeps the promises of a pointwise loss") {
    check_pointwise_loss(
        "gail", [](dice& d) { return gail{.entropy_coefficient = d.chance(0.2) ? d.uniform() : d.uniform(0, 0.1)}; });
}

TEST_CASE("gail on three scores a side: the sheet's golden vector") {
    check_scores(gail{.entropy_coefficient = 0.1}, 1.151410, {-0.032735, -0.211403, -0.139408},
                 {0.083093, 0.227903, 0.175824});
}

TEST_CASE("gail is bce without its bonus, which is log 2 a side at score 0") {
    const score_result plain = run(rlgaf::bce{}, sheet_scores()), same = run(gail{0}, sheet_scores());
    REQUIRE(gap(same.stats.loss, plain.stats.loss) < 1e-15);
    REQUIRE(gap(same.d_real, plain.d_real) < 1e-15);
    REQUIRE(gap(same.d_fake, plain.d_fake) < 1e-15);
    REQUIRE(gap(run(gail{0.25}, {{0}, {0}, {0}}).stats.loss, 1.5 * std::log(2)) < 1e-15);
}

TEST_CASE("The optimum of gail lies between 0 and the log density ratio") {
    // where sigmoid(s) (p + q) - p + c s sigmoid(s) sigmoid(-s) (p + q) = 0, that is u = p / q from s
    const double c = 0.2, s[] = {-1.5, 0, 2};
    for (const double score : s) {
        const double share = 1 / (1 + std::exp(-score)), p = share + c * score * share * (1 - share);
        const two_distributions both{{p}, {1 - p}};
        both.check_optimum(gail{c}, [&](double) { return score; });
        REQUIRE((score == 0 ? gap(p, 0.5) < 1e-15 : std::abs(std::log(p / (1 - p))) > std::abs(score)));
    }
}

TEST_CASE("gail with saturated scores: no bonus left, and still pushing where the discriminator is wrong") {
    const gail loss{0.1};
    const score_result right = run(loss, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    REQUIRE(right.d_fake[0] == 0);
    const score_result wrong = run(loss, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 2e4);
    REQUIRE(wrong.d_real[0] == -1);
    REQUIRE(wrong.d_fake[0] == 1);
}

TEST_CASE("gail refuses options out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(gail{x}, "gail", "entropy_coefficient"));
        REQUIRE_THROWS_AS(run(gail{x}, sheet_scores()), rlgaf::option_error);
    }
}
