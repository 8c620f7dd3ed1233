#include "rlgaf/reward_shaping/pair_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::raro_reward;
using rlgaf::verdict;

TEST_CASE("raro_reward: RARO's table of labels, and what a drawn label is worth on average") {
    const std::vector<double> z = {2, 0, 1, 0, 2, 1, 0, 1, 2, 1, 1, 1, 0, 1, 1, 1, 0, 1};  // expert, policy, tie
    REQUIRE(gap(score_reward(raro_reward{.label = verdict::likeliest}, z, 3), {0, 1, 0.6, 0, 1, 0}) == 0);
    REQUIRE(gap(score_reward(raro_reward{.reward_of_tie = 0.25, .label = verdict::likeliest}, z, 3)[2], 0.25) == 0);
    dice d(12);
    for (int i = 0; i < 500; ++i) {
        const std::vector<double> row = {3 * d.normal(), 3 * d.normal(), 3 * d.normal()};
        const double a = std::exp(row[0]), b = std::exp(row[1]), c = std::exp(row[2]);
        REQUIRE(gap(score_reward(raro_reward{}, row, 3)[0], (b + 0.6 * c) / (a + b + c)) < 1e-14);
        const std::vector<float> narrow(row.begin(), row.end());
        REQUIRE(gap(score_reward(raro_reward{}, narrow, 3)[0], (b + 0.6 * c) / (a + b + c)) < 1e-6);
    }
}

TEST_CASE("raro_reward at extremes, with NaN, and with what it refuses") {
    for (const verdict label : {verdict::expected, verdict::likeliest}) {
        const raro_reward stage{.label = label};
        REQUIRE(gap(score_reward(stage, std::vector<double>{1e4, 0, 0, -1e4, 1e4, 0, 0, 0, 1e4}, 3), {0, 1, 0.6}) == 0);
        for (std::size_t k = 0; k < 3; ++k) {
            std::vector<double> z = {0, 1, 2, 0, 1, 2};
            z[k] = not_a_number;
            const std::vector<double> r = score_reward(stage, z, 3);
            REQUIRE(std::isnan(r[0]));
            REQUIRE(!std::isnan(r[1]));
        }
        REQUIRE(score_reward(stage, std::vector<double>{}, 3).empty());
    }
    shaping_step<double> step{.score = {1, 2}, .width = 2};
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(raro_reward{}); }) ==
            "rlgaf::raro_reward: terms.width: expected 3 numbers a row, got 2");
    step.width = 3;
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(raro_reward{}); }) ==
            "rlgaf::raro_reward: terms.score: expected 3 elements, got 2");
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(raro_reward{.reward_of_tie = x}, "raro_reward", "reward_of_tie"));
}
