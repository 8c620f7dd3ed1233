#include "rlgaf/reward_shaping/length_penalty.hpp"
#include "support/length_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::length_penalty;

TEST_CASE("length_penalty: a price for every unmasked token over and under the target") {
    const length_penalty stage{.target = 3, .over = 0.5, .under = 0.25};
    REQUIRE(gap(length_reward(stage, {0, 2, 3, 4, 9}), {-0.75, -0.25, 0, -0.5, -3}) == 0);
    REQUIRE(gap(length_reward<float>(stage, {0, 2, 3, 4, 9}), {-0.75, -0.25, 0, -0.5, -3}) == 0);
    REQUIRE(gap(length_reward(stage, {4, 2}, {{1, 0, 0, 1}, {0, 0}}), {-0.25, -0.75}) == 0);
    REQUIRE(gap(length_reward(length_penalty{.target = 0.5}, {1, 0}), {-0.0005, 0}) == 0);
    REQUIRE(length_reward(stage, {}).empty());
}

TEST_CASE("length_penalty refuses what does not fit, by name") {
    check_length_stage(length_penalty{}, "length_penalty");
    for (const double x : {-1.0, infinity, not_a_number}) {
        REQUIRE(refuses(length_penalty{.target = x}, "length_penalty", "target"));
        REQUIRE(refuses(length_penalty{.over = x}, "length_penalty", "over"));
        REQUIRE(refuses(length_penalty{.under = x}, "length_penalty", "under"));
    }
}
