#include "rlgaf/reward_shaping/score_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

TEST_CASE("Rewards from scores: the discriminator sheet's sample values") {
    REQUIRE(gap(score_reward(log_d_reward{}, sheet_samples), {-2.126928, -0.974077, -0.693147, -0.474077, -0.126928}) <
            1e-6);
    REQUIRE(gap(score_reward(neg_log_one_minus_d_reward{}, sheet_samples),
                {0.126928, 0.474077, 0.693147, 0.974077, 2.126928}) < 1e-6);
    REQUIRE(gap(score_reward(logit_reward{}, sheet_samples), sheet_samples) == 0);
    REQUIRE(gap(score_reward(log_d_reward{}, std::vector<float>{0.5f}), {-0.474077}) < 1e-6);
    // D by its definition
    REQUIRE(gap(score_reward(d_reward{}, sheet_samples), {0.119203, 0.377541, 0.5, 0.622459, 0.880797}) < 1e-6);
    REQUIRE(gap(score_reward(two_d_minus_one_reward{}, sheet_samples), {-0.761594, -0.244919, 0, 0.244919, 0.761594}) <
            1e-6);
}

TEST_CASE("Rewards from saturated scores are finite, and the logit is clipped") {
    const std::vector<double> far = {1e4, -1e4};
    REQUIRE(gap(score_reward(log_d_reward{}, far), {0, -1e4}) == 0);
    REQUIRE(gap(score_reward(neg_log_one_minus_d_reward{}, far), {1e4, 0}) == 0);
    REQUIRE(gap(score_reward(d_reward{}, far), {1, 0}) == 0);
    REQUIRE(gap(score_reward(two_d_minus_one_reward{}, far), {1, -1}) == 0);
    REQUIRE(gap(score_reward(logit_reward{}, far), {10, -10}) == 0);
    REQUIRE(gap(score_reward(logit_reward{.clip = 0.5}, sheet_samples), {-0.5, -0.5, 0, 0.5, 0.5}) == 0);
    REQUIRE(gap(score_reward(logit_reward{.clip = infinity}, far), far) == 0);
}

TEST_CASE("Rewards from scores: NaN does not apply, several scores a row are averaged, shapes have names") {
    check_score_stage(logit_reward{}, "logit_reward");
    check_score_stage(d_reward{}, "d_reward");
    check_score_stage(two_d_minus_one_reward{}, "two_d_minus_one_reward");
    check_score_stage(log_d_reward{}, "log_d_reward");
    check_score_stage(neg_log_one_minus_d_reward{}, "neg_log_one_minus_d_reward");
}

TEST_CASE("logit_reward refuses its options by name") {
    for (const double x : {0.0, -1.0, not_a_number}) {
        REQUIRE(refuses(logit_reward{.clip = x}, "logit_reward", "clip"));
        shaping_step<double> step;
        step.begin({});
        REQUIRE_THROWS_AS(step.run(logit_reward{.clip = x}), option_error);
    }
}
