#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/token_score_reward.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::score_map;
using rlgaf::token_score_reward;

TEST_CASE("token_score_reward pays the discriminator sheet's sample values, token by token") {
    const table s = {{-2, -0.5}, {}, {0, 0.5, 2}};
    const struct {
        score_map map;
        table value;
    } all[] = {
        {score_map::log_d, {{-2.126928, -0.974077}, {}, {-0.693147, -0.474077, -0.126928}}},
        {score_map::neg_log_one_minus_d, {{0.126928, 0.474077}, {}, {0.693147, 0.974077, 2.126928}}},
        {score_map::d, {{0.119203, 0.377541}, {}, {0.5, 0.622459, 0.880797}}},
        {score_map::two_d_minus_one, {{-0.761594, -0.244919}, {}, {0, 0.244919, 0.761594}}},
        {score_map::logit, s},
    };
    for (const auto& e : all) REQUIRE(gap(token_reward(token_score_reward{.map = e.map}, s), e.value) < 1e-6);
    REQUIRE(gap(token_reward(token_score_reward{}, s), all[3].value) < 1e-6);
}

TEST_CASE("token_score_reward at saturated scores, masked, in both layouts, in float") {
    REQUIRE(gap(token_reward(token_score_reward{.map = score_map::log_d}, {{1e4, -1e4}}), {{0, -10}}) == 0);
    REQUIRE(gap(token_reward(token_score_reward{.map = score_map::logit, .clip = 0.5}, {{1e4, 0.25}}), {{0.5, 0.25}}) ==
            0);
    REQUIRE(gap(token_reward(token_score_reward{}, {{1e4, 3, -1e4}}, {{1, 0, 1}}), {{1, 0, -1}}) == 0);
    check_token_stage(token_score_reward{}, "token_score_reward", "terms.token_score");
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(token_score_reward{.clip = x}, "token_score_reward", "clip"));
}
