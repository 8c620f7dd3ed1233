#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/regularizer/score_l2.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::score_l2;

TEST_CASE("score_l2 keeps the promises of a pointwise loss") {
    check_pointwise_loss("score_l2", [](dice& d) { return score_l2{.coefficient = d.uniform()}; });
}

TEST_CASE("score_l2 on three scores a side") {
    // squares: 4, 0.25, 0.09 and 1, 0.49, 0.01
    check_scores(score_l2{.coefficient = 0.3}, 0.3 * (4.34 / 3 + 1.5 / 3) / 2, {0.2, -0.05, 0.03}, {-0.1, 0.07, 0.01});
    const score_result r = run(score_l2{}, {{1e4}, {0}, {0}});
    REQUIRE(gap(r.stats.loss, 5e4) < 1e-9);
    REQUIRE(gap(r.d_real[0], 10) < 1e-12);
}

TEST_CASE("score_l2 is bradley_terry's score penalty where demonstrations and samples are matched one to one") {
    const score_case c = sheet_scores();
    const score_result plain = run(rlgaf::bradley_terry{.score_penalty = 0}, c);
    const score_result both = run(rlgaf::bradley_terry{.score_penalty = 0.1}, c);
    const score_result l2 = run(score_l2{.coefficient = 0.1}, c);
    REQUIRE(gap(plain.stats.loss + l2.stats.loss, both.stats.loss) < 1e-15);
    for (std::size_t i = 0; i < 3; ++i) {
        REQUIRE(gap(plain.d_real[i] + l2.d_real[i], both.d_real[i]) < 1e-15);
        REQUIRE(gap(plain.d_fake[i] + l2.d_fake[i], both.d_fake[i]) < 1e-15);
    }
}

TEST_CASE("score_l2 refuses options out of range by name") {
    for (const double x : {-0.1, infinity, not_a_number}) {
        REQUIRE(refuses(score_l2{x}, "score_l2", "coefficient"));
        REQUIRE_THROWS_AS(run(score_l2{x}, sheet_scores()), rlgaf::option_error);
    }
}
