#include "rlgaf/reward_shaping/density_ratio_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::density_ratio_reward;

TEST_CASE("density_ratio_reward: odds by their definition, over the step and over groups") {
    const double u[] = {std::exp(-2), std::exp(0.5), std::exp(1), 1};
    const double all = u[0] + u[1] + u[2] + u[3];
    shaping_step<double> step{.score = {-2, 0.5, 1, 0}, .group = {1, 0, 1, 2}, .groups = 4};
    for (int k = 0; k < 2; ++k) {
        step.begin({1, 1, 1, 1});
        step.run(density_ratio_reward{});
        step.run(density_ratio_reward{.per_group = true});
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(gap(step.outcome(0), {u[0] / all - 0.25, u[1] / all - 0.25, u[2] / all - 0.25, u[3] / all - 0.25}) < 1e-15);
    REQUIRE(gap(step.outcome(1), {u[0] / (u[0] + u[2]) - 0.5, 0, u[2] / (u[0] + u[2]) - 0.5, 0}) < 1e-15);
}

TEST_CASE("density_ratio_reward: extremes, equal scores, NaN, float, several scores a row") {
    const density_ratio_reward stage;
    REQUIRE(gap(score_reward(stage, std::vector<double>{1e4, -1e4, 1e4}), {0.5 - 1.0 / 3, -1.0 / 3, 0.5 - 1.0 / 3}) <
            1e-15);
    REQUIRE(gap(score_reward(stage, std::vector<double>(7, 17.3)), std::vector<double>(7, 0.0)) == 0);
    REQUIRE(gap(score_reward(stage, std::vector<float>{1, 0}),
                {std::exp(1) / (1 + std::exp(1)) - 0.5, 1 / (1 + std::exp(1)) - 0.5}) < 1e-15);
    const std::vector<double> r = score_reward(stage, std::vector<double>{not_a_number, 1, 1});
    REQUIRE(std::isnan(r[0]));
    REQUIRE(gap(std::vector<double>{r[1], r[2]}, {0, 0}) == 0);
    REQUIRE(std::isnan(score_reward(stage, std::vector<double>{not_a_number})[0]));
    const std::vector<double> wide = score_reward(stage, std::vector<double>{1, 5, 2, 3}, 2);
    const double first = 1 / (1 + std::exp(1)) - 0.5, second = 1 / (1 + std::exp(-2)) - 0.5;
    REQUIRE(gap(wide, {(first + second) / 2, -(first + second) / 2}) < 1e-15);
    REQUIRE(score_reward(stage, std::vector<double>{}).empty());
}

TEST_CASE("density_ratio_reward refuses wrong shapes by name") {
    shaping_step<double> step{.score = {1, 2}, .group = {0, 1}, .groups = 1};
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(density_ratio_reward{.per_group = true}); }) ==
            "rlgaf::density_ratio_reward: groups.id[1]: expected below 1, got 1");
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(density_ratio_reward{}); }) ==
            "rlgaf::density_ratio_reward: terms.score: expected 1 elements, got 2");
}
