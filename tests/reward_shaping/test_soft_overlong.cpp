#include "rlgaf/reward_shaping/soft_overlong.hpp"
#include "support/length_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::soft_overlong;

TEST_CASE("soft_overlong is DAPO's equation 13") {
    const soft_overlong stage{.max_length = 10, .buffer = 4};
    REQUIRE(gap(length_reward(stage, {0, 5, 6, 7, 9, 10, 11, 50}), {0, 0, 0, -0.25, -0.75, -1, -1, -1}) == 0);
    REQUIRE(gap(length_reward(soft_overlong{.max_length = 10, .buffer = 4, .weight = 3}, {8, 12}), {-1.5, -3}) == 0);
    REQUIRE(gap(length_reward<float>(stage, {7}, {{0, 0, 0, 0, 0, 0, 1}}), {0}) == 0);
    REQUIRE(gap(length_reward(soft_overlong{.max_length = 2, .buffer = 2}, {1}), {-0.5}) == 0);
    REQUIRE(length_reward(stage, {}).empty());
}

TEST_CASE("soft_overlong refuses what does not fit, by name") {
    check_length_stage(soft_overlong{}, "soft_overlong");
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(soft_overlong{.max_length = x}, "soft_overlong", "max_length"));
    for (const double x : {0.0, 20481.0, not_a_number})
        REQUIRE(refuses(soft_overlong{.buffer = x}, "soft_overlong", "buffer"));
    for (const double x : {-1.0, not_a_number}) REQUIRE(refuses(soft_overlong{.weight = x}, "soft_overlong", "weight"));
}
