#include "rlgaf/reward_shaping/overlong_filter.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::overlong_filter;

TEST_CASE("overlong_filter: the rewards of truncated rows do not apply") {
    shaping_step<double> step = step_with({{1, 2, 3}, {4, not_a_number, 6}});
    step.truncated = {0, 1, 1};
    step.mask = {{1}, {1}, {0}};
    for (std::size_t b = 0; b < 3; ++b) step.result.token().row(b)[0] = 7;
    step.run(overlong_filter{});
    step.run(overlong_filter{});  // again: nothing changes, nothing allocates
    REQUIRE(step.allocated == 0);
    for (std::size_t k = 0; k < 2; ++k) {
        REQUIRE(step.outcome(k)[0] == (k == 0 ? 1 : 4));
        REQUIRE(std::isnan(step.outcome(k)[1]));
        REQUIRE(std::isnan(step.outcome(k)[2]));
    }
    REQUIRE(gap(step.token(), {{7}, {7}, {7}}) == 0);  // they do not count where no outcome applies
    for (std::size_t b = 0; b < 3; ++b) REQUIRE(rlgaf::has_reward(step.result.view(), b) == (b == 0));
    REQUIRE(step.result.outcomes() == 2);
}

TEST_CASE("overlong_filter without outcomes adds one, and no token rewards") {
    shaping_step<float> step{.truncated = {1, 0}};
    step.begin({1, 1});
    step.run(overlong_filter{});
    REQUIRE(step.result.name(0) == "overlong_filter");
    REQUIRE(std::isnan(step.outcome(0)[0]));
    REQUIRE(step.outcome(0)[1] == 0);
    REQUIRE(step.result.view().token.empty());
    step.truncated = {1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(overlong_filter{}); }) ==
            "rlgaf::overlong_filter: terms.truncated: expected 2 elements, got 1");
}
