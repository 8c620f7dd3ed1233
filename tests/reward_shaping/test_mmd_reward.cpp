#include "rlgaf/reward_shaping/mmd_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::mmd_reward;

namespace {
using numbers = std::vector<double>;
}

TEST_CASE("mmd_reward is the witness by its definition") {
    const numbers x = {0, 0, 3, 4}, e = {0, 0, 0, 2};  // two rows of two features
    const auto k = [](double squared) { return std::exp(-squared / 8); };
    const numbers expected = {(1 + k(4)) / 2 - (1 + k(25)) / 2, (k(25) + k(13)) / 2 - (1 + k(25)) / 2};
    REQUIRE(gap(score_reward(mmd_reward{.bandwidth = 2}, x, 2, e), expected) < 1e-15);
    const std::vector<float> narrow(x.begin(), x.end()), narrow_e(e.begin(), e.end());
    REQUIRE(gap(score_reward(mmd_reward{.bandwidth = 2}, narrow, 2, narrow_e), expected) < 1e-15);
    // distances to demonstrations above 0: 2, 5, sqrt(13); their median is sqrt(13)
    REQUIRE(gap(score_reward(mmd_reward{}, x, 2, e), score_reward(mmd_reward{.bandwidth = std::sqrt(13)}, x, 2, e)) <
            1e-15);
}

TEST_CASE("mmd_reward: its sum over samples less that over demonstrations is the discrepancy, which is 0 for equals") {
    dice d(51);
    for (int i = 0; i < 200; ++i) {
        numbers x(3 * (1 + d.below(6)));
        for (double& v : x) v = d.normal();
        REQUIRE(gap(score_reward(mmd_reward{.bandwidth = 0.7}, x, 3, x), numbers(x.size() / 3, 0.0)) < 1e-14);
        const double shift = 100;
        numbers far = x;
        for (double& v : far) v += shift;
        for (const double r : score_reward(mmd_reward{.bandwidth = 0.7}, x, 3, far)) REQUIRE(r < 0);
    }
}

TEST_CASE("mmd_reward: equal points, far points, NaN rows, no rows") {
    REQUIRE(gap(score_reward(mmd_reward{}, numbers{7, 7, 7}, 1, numbers{7, 7, 7}), {0, 0, 0}) == 0);
    REQUIRE(gap(score_reward(mmd_reward{.bandwidth = 1}, numbers{1e4, -1e4}, 1, numbers{1e4, 1e4}), {0.5, -0.5}) == 0);
    const numbers bad = {0, 1, not_a_number, 0, 3, 4}, e = {0, 0, 0, not_a_number, 0, 2};
    const numbers r = score_reward(mmd_reward{.bandwidth = 2}, bad, 2, e);
    REQUIRE(std::isnan(r[1]));
    // as if neither that row nor that demonstration were there
    const numbers left = score_reward(mmd_reward{.bandwidth = 2}, numbers{0, 1, 3, 4}, 2, numbers{0, 0, 0, 2});
    REQUIRE(gap(numbers{r[0], r[2]}, left) == 0);
    REQUIRE(std::isnan(score_reward(mmd_reward{}, numbers{0}, 1, numbers{not_a_number})[0]));
    REQUIRE(score_reward(mmd_reward{}, numbers{}, 2).empty());
}

TEST_CASE("mmd_reward refuses what does not fit, by name") {
    shaping_step<double> step{.score = {1, 2}, .width = 2, .expert_score = {1}};
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(mmd_reward{}); }) ==
            "rlgaf::mmd_reward: terms.expert_score: expected 2 elements, got 1");
    step.score = {1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(mmd_reward{}); }) ==
            "rlgaf::mmd_reward: terms.score: expected 2 elements, got 1");
    for (const double x : {-1.0, not_a_number}) REQUIRE(refuses(mmd_reward{.bandwidth = x}, "mmd_reward", "bandwidth"));
    static_assert(rlgaf::needs_expert_score<mmd_reward>());
}
