#include "rlgaf/reward_shaping/as_reward.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::as_reward;

TEST_CASE("as_reward takes a callable of a row or of all rows, with a weight") {
    const auto by_row = as_reward(
        "by row", [](const no_batch&, std::size_t i) { return static_cast<double>(i); }, 0.5);
    const auto by_step = as_reward("by step", [](const no_batch&, std::span<double> r) {
        REQUIRE(r[0] == 0);
        r[2] = not_a_number;
        r[1] = 7;
    });
    shaping_step<float> step;
    for (int k = 0; k < 2; ++k) {
        step.begin({1, 1, 1});
        step.run(by_row);
        step.run(by_step);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.name(0) == "by row");
    REQUIRE(step.result.name(1) == "by step");
    REQUIRE(gap(step.outcome(0), {0, 0.5, 1}) == 0);
    REQUIRE(step.outcome(1)[1] == 7);
    REQUIRE(std::isnan(step.outcome(1)[2]));
}

TEST_CASE("as_reward refuses a weight that is not finite") {
    const auto zero = [](const no_batch&, std::size_t) { return 0.0; };
    for (const double w : {infinity, -infinity, not_a_number}) {
        REQUIRE(refuses(as_reward("mine", zero, w), "as_reward", "weight"));
        shaping_step<double> step;
        step.begin({});
        REQUIRE_THROWS_AS(step.run(as_reward("mine", zero, w)), rlgaf::option_error);
    }
    REQUIRE_NOTHROW(as_reward("mine", zero, -2).check());
}
