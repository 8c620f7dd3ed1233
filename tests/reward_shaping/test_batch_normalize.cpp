#include "rlgaf/reward_shaping/batch_normalize.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::batch_normalize;

TEST_CASE("batch_normalize: mean 0 and deviation 1 over the step, each outcome apart, NaN out of it") {
    shaping_step<double> step = step_with({{1, 3, not_a_number, 8}, {5, 5, 5, 9}});
    step.run(batch_normalize{});
    REQUIRE(step.allocated == 0);
    const double deviation = std::sqrt(13.0);  // (9 + 1 + 16) / 2
    REQUIRE(gap(step.outcome(0)[0], -3 / deviation) < 1e-15);
    REQUIRE(gap(step.outcome(0)[1], -1 / deviation) < 1e-15);
    REQUIRE(std::isnan(step.outcome(0)[2]));
    REQUIRE(gap(step.outcome(0)[3], 4 / deviation) < 1e-15);
    REQUIRE(gap(step.outcome(1), {-0.5, -0.5, -0.5, 1.5}) < 1e-15);
    step = step_with({{1, 3, not_a_number, 8}});
    step.run(batch_normalize{.keep_mean = true});
    REQUIRE(gap(step.outcome(0)[0], 4 - 3 / deviation) < 1e-15);
    REQUIRE(gap(step.outcome(0)[3], 4 + 4 / deviation) < 1e-15);
}

TEST_CASE("batch_normalize: equal rewards, one row, no rows") {
    for (const double c : {17.3, 0.1, -5.7, 1e4}) {
        shaping_step<double> step = step_with({std::vector<double>(8, c), std::vector<double>(8, not_a_number)});
        step.run(batch_normalize{});
        REQUIRE(gap(step.outcome(0), std::vector<double>(8, 0.0)) == 0);
        REQUIRE(std::isnan(step.outcome(1)[7]));
        step = step_with({{c}});
        step.run(batch_normalize{.keep_mean = true});
        REQUIRE(step.outcome(0)[0] == c);
        step.run(batch_normalize{});
        REQUIRE(step.outcome(0)[0] == 0);
    }
    shaping_step<double> step = step_with({{}});
    REQUIRE_NOTHROW(step.run(batch_normalize{}));
}
