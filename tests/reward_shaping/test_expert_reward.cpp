#include "rlgaf/reward_shaping/expert_reward.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
// s_f, s_r of the discriminator sheet's test vectors: delta = 3, -1.2, 0.2
const std::vector<double> fake = {-1, 0.7, 0.1}, real = {2, -0.5, 0.3};
}  // namespace

TEST_CASE("bradley_terry_reward is the negative of the sheet's pairwise loss with the players exchanged") {
    const std::vector<double> r = score_reward(bradley_terry_reward{}, fake, 1, real);
    REQUIRE(gap((r[0] + r[1] + r[2]) / 3, -0.703336 - 2.0 / 3) < 1e-6);  // softplus(d) = softplus(-d) + d
    REQUIRE(gap(r[0], -std::log1p(std::exp(3.0))) < 1e-14);
    const std::vector<double> far = {1e4, -1e4}, none = {0, 0};
    REQUIRE(gap(score_reward(bradley_terry_reward{}, far, 1, none), {0, -1e4}) == 0);
}

TEST_CASE("Rewards with ties: probabilities of the three results by their definitions") {
    dice d(67);
    for (int i = 0; i < 2000; ++i) {
        const double delta = 6 * d.normal(), theta = 1 + 3 * d.uniform(), nu = 3 * d.uniform(), tie = d.uniform();
        const std::vector<double> s = {0.3}, e = {0.3 + delta};
        const double win = 1 / (1 + theta * std::exp(-delta)), loss = 1 / (1 + theta * std::exp(delta));
        REQUIRE(gap(score_reward(rao_kupper_reward{.theta = theta, .reward_of_tie = tie}, s, 1, e)[0],
                    loss + tie * (1 - win - loss)) < 1e-12);
        const double z = std::exp(delta / 2) + std::exp(-delta / 2) + nu;
        REQUIRE(gap(score_reward(davidson_reward{.nu = nu, .reward_of_tie = tie}, s, 1, e)[0],
                    std::exp(-delta / 2) / z + tie * nu / z) < 1e-12);
    }
}

TEST_CASE("Rewards with ties at extremes and at equal scores") {
    const std::vector<double> s = {1e4, -1e4, 3}, e = {-1e4, 1e4, 3};
    REQUIRE(gap(score_reward(rao_kupper_reward{}, s, 1, e), {1, 0, 1.0 / 3 + 0.6 / 3}) < 1e-15);
    REQUIRE(gap(score_reward(davidson_reward{}, s, 1, e), {1, 0, 1.0 / 3 + 0.6 / 3}) < 1e-15);
    // no ties: the probability to win
    REQUIRE(gap(score_reward(rao_kupper_reward{.theta = 1}, fake, 1, real),
                score_reward(davidson_reward{.nu = 0}, fake, 1, real)) < 1e-15);
    REQUIRE(gap(score_reward(rao_kupper_reward{.theta = 1}, fake, 1, real),
                {1 / (1 + std::exp(3.0)), 1 / (1 + std::exp(-1.2)), 1 / (1 + std::exp(0.2))}) < 1e-15);
}

TEST_CASE("Rewards against the expert: NaN, widths, shapes, options; a pipeline asks for what they need") {
    check_score_stage(bradley_terry_reward{}, "bradley_terry_reward");
    check_score_stage(rao_kupper_reward{}, "rao_kupper_reward");
    check_score_stage(davidson_reward{}, "davidson_reward");
    for (const double x : {0.9, infinity, not_a_number})
        REQUIRE(refuses(rao_kupper_reward{.theta = x}, "rao_kupper_reward", "theta"));
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(davidson_reward{.nu = x}, "davidson_reward", "nu"));
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(rao_kupper_reward{.reward_of_tie = x}, "rao_kupper_reward", "reward_of_tie"));
        REQUIRE(refuses(davidson_reward{.reward_of_tie = x}, "davidson_reward", "reward_of_tie"));
    }
    const pipeline stages{bradley_terry_reward{}};
    static_assert(needs_expert_score<decltype(stages)>() && !needs_fixed_score<decltype(stages)>());
}
