#include "rlgaf/reward_shaping/score_reward.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
template <class T, class Stage>
std::vector<double> reward(const Stage& stage, const std::vector<T>& score) {
    shaping_step<T> step{.score = score};
    const std::vector<std::uint32_t> lengths(score.size(), 1);
    for (int k = 0; k < 2; ++k) {
        step.begin(lengths);
        step.run(stage);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.outcomes() == 1);
    REQUIRE(step.result.name(0) == "discriminator");
    REQUIRE(step.result.view().token.empty());
    return step.outcome(0);
}
template <class Stage>
std::string shape_message(const Stage& stage) {
    shaping_step<double> step{.score = {1, 2}};
    step.begin({1, 1, 1});
    return message_of<shape_error>([&] { step.run(stage); });
}
const std::vector<double> scores = {-2, -0.5, 0, 0.5, 2};
}  // namespace

TEST_CASE("Rewards from scores: the discriminator sheet's sample values") {
    REQUIRE(gap(reward(log_d_reward{}, scores), {-2.126928, -0.974077, -0.693147, -0.474077, -0.126928}) < 1e-6);
    REQUIRE(gap(reward(neg_log_one_minus_d_reward{}, scores), {0.126928, 0.474077, 0.693147, 0.974077, 2.126928}) <
            1e-6);
    REQUIRE(gap(reward(logit_reward{}, scores), scores) == 0);
    REQUIRE(gap(reward(log_d_reward{}, std::vector<float>{0.5f}), {-0.474077}) < 1e-6);
}

TEST_CASE("Rewards from saturated scores are finite, and the logit is clipped") {
    const std::vector<double> far = {1e4, -1e4};
    REQUIRE(gap(reward(log_d_reward{}, far), {0, -1e4}) == 0);
    REQUIRE(gap(reward(neg_log_one_minus_d_reward{}, far), {1e4, 0}) == 0);
    REQUIRE(gap(reward(logit_reward{}, far), {10, -10}) == 0);
    REQUIRE(gap(reward(logit_reward{.clip = 0.5}, scores), {-0.5, -0.5, 0, 0.5, 0.5}) == 0);
    REQUIRE(gap(reward(logit_reward{.clip = infinity}, far), far) == 0);
}

TEST_CASE("A score of NaN does not apply") {
    const std::vector<double> bad = {not_a_number, 1};
    REQUIRE(std::isnan(reward(logit_reward{}, bad)[0]));
    REQUIRE(std::isnan(reward(log_d_reward{}, bad)[0]));
    REQUIRE(std::isnan(reward(neg_log_one_minus_d_reward{}, bad)[0]));
    REQUIRE(reward(logit_reward{}, bad)[1] == 1);
}

TEST_CASE("Rewards from scores refuse wrong sizes and options by name") {
    REQUIRE(shape_message(logit_reward{}) == "rlgaf::logit_reward: terms.score: expected 3 elements, got 2");
    REQUIRE(shape_message(log_d_reward{}) == "rlgaf::log_d_reward: terms.score: expected 3 elements, got 2");
    REQUIRE(shape_message(neg_log_one_minus_d_reward{}) ==
            "rlgaf::neg_log_one_minus_d_reward: terms.score: expected 3 elements, got 2");
    for (const double x : {0.0, -1.0, not_a_number}) {
        REQUIRE(refuses(logit_reward{.clip = x}, "logit_reward", "clip"));
        shaping_step<double> step;
        step.begin({});
        REQUIRE_THROWS_AS(step.run(logit_reward{.clip = x}), option_error);
    }
    REQUIRE(reward(logit_reward{}, std::vector<double>{}).empty());
}
