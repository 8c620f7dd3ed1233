#include "rlgaf/reward_shaping/absorbing_state.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/token_score_reward.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::absorbing_state;
using rlgaf::score_map;

TEST_CASE("absorbing_state pays the rest of the horizon at the end of rows that ended") {
    const absorbing_state stage{.horizon = 4, .map = score_map::logit};
    const table s = {{1, 2}, {3}, {}, {1, 2, 3, 4}, {5, 6, 7, 8, 9}};
    REQUIRE(gap(token_reward(stage, s, {}, layout::packed, {0, 1, 0, 0, 0}),
                {{0, 4}, {0}, {}, {0, 0, 0, 0}, {0, 0, 0, 0, 0}}) == 0);
    // masked tokens neither count nor are they the end
    REQUIRE(gap(token_reward(stage, {{1, 2, 9}, {9}}, {{0, 1, 0}, {0}}), {{0, 6, 0}, {0}}) == 0);
    REQUIRE(gap(token_reward(absorbing_state{.horizon = 3, .map = score_map::log_d}, {{0}}), {{-2 * std::log(2)}}) <
            1e-15);
}

TEST_CASE("absorbing_state takes the survival bias out of rewards of one sign") {
    // Every token scores the same: with the stage all rows that ended earn the same, whatever their length.
    for (const score_map map : {score_map::d, score_map::log_d, score_map::two_d_minus_one}) {
        const rlgaf::pipeline stages{rlgaf::token_score_reward{.map = map}, absorbing_state{.horizon = 6, .map = map}};
        const table s = {{0.5, 0.5}, {0.5}, {0.5, 0.5, 0.5, 0.5, 0.5, 0.5}}, r = token_reward(stages, s);
        for (std::size_t b = 0; b < 3; ++b) REQUIRE(gap(row_sum(r, {}, b), 6 * rlgaf::map_score(map, 0.5)) < 1e-14);
    }
}

TEST_CASE("absorbing_state in both layouts and in float, and what it refuses") {
    check_token_stage(absorbing_state{.horizon = 5}, "absorbing_state", "terms.token_score");
    shaping_step<double> step{.truncated = {0}};
    step.token_score = {{1}, {1}};
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(absorbing_state{}); }) ==
            "rlgaf::absorbing_state: terms.truncated: expected 2 elements, got 1");
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(absorbing_state{.horizon = x}, "absorbing_state", "horizon"));
}
