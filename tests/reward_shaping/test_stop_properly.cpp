#include "rlgaf/reward_shaping/stop_properly.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::stop_properly;

namespace {
shaping_step<double> after(const stop_properly& stage) {
    shaping_step<double> step = step_with({{1, not_a_number, 3, 8}, {4, 5, not_a_number, 9}});
    step.truncated = {1, 1, 1, 0};
    step.run(stage);
    REQUIRE(step.allocated == 0);
    REQUIRE(std::isnan(step.outcome(0)[1]));
    REQUIRE(std::isnan(step.outcome(1)[2]));
    REQUIRE(step.outcome(0)[3] == 8);
    REQUIRE(step.outcome(1)[3] == 9);
    return step;
}
}  // namespace

TEST_CASE("stop_properly multiplies the rewards of truncated rows, or replaces them") {
    shaping_step<double> step = after({.coefficient = 0.5});
    REQUIRE(step.outcome(0)[0] == 0.5);
    REQUIRE(step.outcome(1)[0] == 2);
    REQUIRE(step.outcome(1)[1] == 2.5);
    REQUIRE(step.outcome(0)[2] == 1.5);
    step = after({});
    REQUIRE(step.outcome(0)[0] == 0);
    step = after({.coefficient = -2});  // the row's total is -2
    REQUIRE(step.outcome(0)[0] == -2);
    REQUIRE(step.outcome(1)[0] == 0);
    REQUIRE(step.outcome(1)[1] == -2);
    REQUIRE(step.outcome(0)[2] == -2);
}

TEST_CASE("stop_properly refuses what does not fit, by name") {
    shaping_step<float> step{.truncated = {0}};
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(stop_properly{}); }) ==
            "rlgaf::stop_properly: terms.truncated: expected 2 elements, got 1");
    for (const double x : {1.1, -infinity, not_a_number})
        REQUIRE(refuses(stop_properly{.coefficient = x}, "stop_properly", "coefficient"));
}
