#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/loss/rao_kupper.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::rao_kupper;
using rlgaf::tie_objective;

namespace {
struct outcome {
    double win, lose, tie;
};
/// From strengths, as in the paper.
outcome probabilities(double theta, double gap_of_scores) {
    const double r = std::exp(gap_of_scores / 2), f = std::exp(-gap_of_scores / 2);
    return {r / (r + theta * f), f / (f + theta * r),
            (theta * theta - 1) * r * f / ((r + theta * f) * (f + theta * r))};
}
}  // namespace

TEST_CASE("rao_kupper keeps the promises of a discriminator loss") {
    check_discriminator_loss("rao_kupper", [](dice& d) {
        const double theta = d.chance(0.2) ? 1 : d.uniform(1.01, 9);
        if (d.chance(0.5))
            return rao_kupper{
                .theta = theta, .objective = tie_objective::expected_reward, .reward_of_tie = d.uniform()};
        return rao_kupper{.theta = theta, .tie = theta == 1 || d.chance(0.3) ? 0 : d.uniform(0, 0.99)};
    });
}

TEST_CASE("rao_kupper against its probabilities, which sum to 1") {
    dice d(1967);
    for (int i = 0; i < 500; ++i) {
        const double theta = d.uniform(1.01, 9), tie = d.uniform(0, 0.9), reward = d.uniform(), x = 4 * d.normal();
        const outcome p = probabilities(theta, x);
        REQUIRE(gap(p.win + p.lose + p.tie, 1) < 1e-14);
        const score_case c{{x}, {0}, {0}};
        REQUIRE(gap(run(rao_kupper{.theta = theta, .tie = tie}, c).stats.loss,
                    -(1 - tie) * std::log(p.win) - tie * std::log(p.tie)) < 1e-12);
        REQUIRE(
            gap(run(rao_kupper{.theta = theta, .objective = tie_objective::expected_reward, .reward_of_tie = reward}, c)
                    .stats.loss,
                -p.win - reward * p.tie) < 1e-13);
    }
    // theta = 2, equal scores: a third each
    REQUIRE(gap(run(rao_kupper{}, {{0}, {0}, {0}}).stats.loss, std::log(3)) < 1e-14);
    REQUIRE(gap(run(rao_kupper{}, {{0}, {0}, {0}}).d_real, {-2.0 / 3}) < 1e-14);
}

TEST_CASE("rao_kupper with theta = 1 is bradley_terry, and with another theta has a margin of log theta") {
    dice d(7);
    for (int i = 0; i < 100; ++i) {
        const score_case c = random_scores(d);
        for (const double theta : {1.0, 3.0}) {
            const score_result ties = run(rao_kupper{.theta = theta}, c);
            const score_result none = run(rlgaf::bradley_terry{.margin = std::log(theta), .score_penalty = 0}, c);
            REQUIRE(gap(ties.stats.loss, none.stats.loss) < 1e-14 * (1 + none.stats.loss));
            REQUIRE(gap(ties.d_real, none.d_real) < 1e-14);
        }
    }
}

TEST_CASE("rao_kupper: labels that are ties half of the time settle where win and tie are told apart best") {
    // dL/dgap = tie sigmoid(gap + eta) - sigmoid(eta - gap) has one root; the loss is smallest there
    double low = -20, high = 20;
    const rao_kupper loss{.theta = 3, .tie = 0.5};
    for (int i = 0; i < 60; ++i) {
        const double middle = (low + high) / 2;
        (run(loss, {{middle}, {0}, {0}}).d_real[0] < 0 ? low : high) = middle;
    }
    const double best = run(loss, {{low}, {0}, {0}}).stats.loss;
    for (const double by : {-1.0, -0.1, 0.1, 1.0}) REQUIRE(run(loss, {{low + by}, {0}, {0}}).stats.loss > best);
}

TEST_CASE("rao_kupper with saturated scores and without samples") {
    const score_result right = run(rao_kupper{}, {{1e4}, {-1e4}, {0}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    const score_result wrong = run(rao_kupper{}, {{-1e4}, {1e4}, {0}});
    REQUIRE(gap(wrong.stats.loss, 2e4 + std::log(2)) < 1e-9);
    REQUIRE(wrong.d_real[0] == -1);
    const score_result tied = run(rao_kupper{.tie = 0.5}, {{1e4}, {-1e4}, {0}});
    REQUIRE(gap(tied.d_real[0], 0.5) < 1e-15);
    const rao_kupper reward{.objective = tie_objective::expected_reward};
    REQUIRE(run(reward, {{1e4}, {-1e4}, {0}}).stats.loss == -1);
    REQUIRE(run(reward, {{-1e4}, {1e4}, {0}}).stats.loss == 0);
    const score_result none = run(rao_kupper{}, {{1, 2}, {}, {}});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(gap(none.d_real, {0, 0}) == 0);
}

TEST_CASE("rao_kupper refuses options out of range by name") {
    for (const double x : {0.9, -1.0, infinity, not_a_number})
        REQUIRE(refuses(rao_kupper{.theta = x}, "rao_kupper", "theta"));
    for (const double x : {-0.1, 1.0, not_a_number}) REQUIRE(refuses(rao_kupper{.tie = x}, "rao_kupper", "tie"));
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(rao_kupper{.reward_of_tie = x}, "rao_kupper", "reward_of_tie"));
    REQUIRE(refuses(rao_kupper{.theta = 1, .tie = 0.1}, "rao_kupper", "tie"));
    REQUIRE(refuses(rao_kupper{.tie = 0.1, .objective = tie_objective::expected_reward}, "rao_kupper", "tie"));
    REQUIRE_THROWS_AS(run(rao_kupper{.theta = 0}, sheet_scores()), rlgaf::option_error);
}
