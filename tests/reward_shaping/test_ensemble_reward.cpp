#include "rlgaf/reward_shaping/ensemble_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::ensemble_reward;
using rlgaf::ensemble_vote;

TEST_CASE("ensemble_reward: mean, least and cautious votes of each row") {
    const std::vector<double> s = {1, 2, 6, -1, -1, -1};
    REQUIRE(gap(score_reward(ensemble_reward{.vote = ensemble_vote::mean}, s, 3), {3, -1}) < 1e-15);
    REQUIRE(gap(score_reward(ensemble_reward{.vote = ensemble_vote::least}, s, 3), {1, -1}) == 0);
    REQUIRE(gap(score_reward(ensemble_reward{}, s, 3), {3 - std::sqrt(7), -1}) < 1e-15);  // (4 + 1 + 9) / 2
    REQUIRE(gap(score_reward(ensemble_reward{.caution = 0.5}, s, 3), {3 - std::sqrt(7) / 2, -1}) < 1e-15);
    REQUIRE(gap(score_reward(ensemble_reward{}, std::vector<float>{1, 2, 6}, 3), {3 - std::sqrt(7)}) < 1e-15);
}

TEST_CASE("ensemble_reward: a single score, extremes, NaN, no rows, refusals") {
    for (const ensemble_vote vote : {ensemble_vote::mean, ensemble_vote::least, ensemble_vote::cautious}) {
        const ensemble_reward stage{.vote = vote};
        REQUIRE(gap(score_reward(stage, std::vector<double>{3, -2}), {3, -2}) == 0);
        REQUIRE(gap(score_reward(stage, std::vector<double>{1e4, 1e4, -1e4, -1e4}, 2), {10, -10}) == 0);
        for (std::size_t k = 0; k < 2; ++k) {
            std::vector<double> s = {1, 2, 3, 4};
            s[k] = not_a_number;
            const std::vector<double> r = score_reward(stage, s, 2);
            REQUIRE(std::isnan(r[0]));
            REQUIRE(!std::isnan(r[1]));
        }
        REQUIRE(score_reward(stage, std::vector<double>{}, 4).empty());
    }
    shaping_step<double> step{.score = {1, 2}, .width = 2};
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(ensemble_reward{}); }) ==
            "rlgaf::ensemble_reward: terms.score: expected 4 elements, got 2");
    for (const double x : {-0.1, not_a_number})
        REQUIRE(refuses(ensemble_reward{.caution = x}, "ensemble_reward", "caution"));
    for (const double x : {0.0, not_a_number}) REQUIRE(refuses(ensemble_reward{.clip = x}, "ensemble_reward", "clip"));
}
