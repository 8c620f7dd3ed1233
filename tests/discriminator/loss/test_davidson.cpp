#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/loss/davidson.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::davidson;
using rlgaf::tie_objective;

TEST_CASE("davidson keeps the promises of a discriminator loss") {
    check_discriminator_loss("davidson", [](dice& d) {
        const double nu = d.chance(0.2) ? 0 : d.uniform(0.01, 9);
        if (d.chance(0.5))
            return davidson{.nu = nu, .objective = tie_objective::expected_reward, .reward_of_tie = d.uniform()};
        return davidson{.nu = nu, .tie = nu == 0 || d.chance(0.3) ? 0 : d.uniform(0, 0.99)};
    });
}

TEST_CASE("davidson on three pairs: the sheet's golden vector") {
    check_scores(davidson{.nu = 0.7}, 0.935408, {-0.035347, -0.235772, -0.154346}, {0.035347, 0.235772, 0.154346});
}

TEST_CASE("davidson against its probabilities") {
    dice d(1970);
    for (int i = 0; i < 500; ++i) {
        const double nu = d.uniform(0.01, 9), tie = d.uniform(0, 0.9), tau = d.uniform(), x = 4 * d.normal();
        const double total = std::exp(x / 2) + std::exp(-x / 2) + nu;
        const double win = std::exp(x / 2) / total, tied = nu / total, lose = std::exp(-x / 2) / total;
        const score_case c{{x}, {0}, {0}};
        REQUIRE(gap(run(davidson{.nu = nu, .tie = tie}, c).stats.loss,
                    -(1 - tie) * std::log(win) - tie * std::log(tied)) < 1e-12);
        const score_result r =
            run(davidson{.nu = nu, .objective = tie_objective::expected_reward, .reward_of_tie = tau}, c);
        REQUIRE(gap(r.stats.loss, -win - tau * tied) < 1e-14);
        // the sheet's derivative of RARO's objective
        REQUIRE(gap(-r.d_real[0], win * (lose + tied / 2) - tau * tied * (win - lose) / 2) < 1e-14);
    }
    // nu = 1, equal scores: a third each
    REQUIRE(gap(run(davidson{}, {{0}, {0}, {0}}).stats.loss, std::log(3)) < 1e-14);
    REQUIRE(gap(run(davidson{}, {{0}, {0}, {0}}).d_real, {-0.5}) < 1e-14);
}

TEST_CASE("davidson with nu = 0 is bradley_terry") {
    dice d(7);
    for (int i = 0; i < 100; ++i) {
        const score_case c = random_scores(d);
        const score_result ties = run(davidson{.nu = 0}, c);
        const score_result none = run(rlgaf::bradley_terry{.score_penalty = 0}, c);
        REQUIRE(gap(ties.stats.loss, none.stats.loss) < 1e-14 * (1 + none.stats.loss));
        REQUIRE(gap(ties.d_real, none.d_real) < 1e-14);
    }
}

TEST_CASE("davidson with saturated scores and without samples") {
    const score_result right = run(davidson{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    const score_result wrong = run(davidson{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(wrong.stats.loss == 2e4);
    REQUIRE(wrong.d_real[0] == -1);
    const score_result tied = run(davidson{.tie = 0.5}, {{1e4}, {-1e4}, {0}});
    REQUIRE(tied.stats.loss == 5e3);
    REQUIRE(tied.d_real[0] == 0.25);
    const davidson reward{.objective = tie_objective::expected_reward};
    REQUIRE(run(reward, {{1e4}, {-1e4}, {0}}).stats.loss == -1);
    REQUIRE(run(reward, {{-1e4}, {1e4}, {0}}).stats.loss == 0);
    const score_result none = run(davidson{}, {{1, 2}, {}, {}});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(gap(none.d_real, {0, 0}) == 0);
}

TEST_CASE("davidson refuses options out of range by name") {
    for (const double x : {-0.1, 1e39, infinity, not_a_number}) REQUIRE(refuses(davidson{.nu = x}, "davidson", "nu"));
    for (const double x : {-0.1, 1.0, not_a_number}) REQUIRE(refuses(davidson{.tie = x}, "davidson", "tie"));
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(davidson{.reward_of_tie = x}, "davidson", "reward_of_tie"));
    REQUIRE(refuses(davidson{.nu = 0, .tie = 0.1}, "davidson", "tie"));
    REQUIRE(refuses(davidson{.tie = 0.1, .objective = tie_objective::expected_reward}, "davidson", "tie"));
    REQUIRE_THROWS_AS(run(davidson{.nu = -1}, sheet_scores()), rlgaf::option_error);
}
