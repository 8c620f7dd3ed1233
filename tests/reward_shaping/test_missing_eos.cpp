#include "rlgaf/reward_shaping/missing_eos.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::missing_eos;

TEST_CASE("missing_eos takes its penalty from truncated rows only") {
    shaping_step<float> step{.truncated = {0, 1, 0, 255}};
    for (int k = 0; k < 2; ++k) {
        step.begin({1, 1, 0, 2});
        step.run(missing_eos{.penalty = 0.75});
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.name(0) == "missing_eos");
    REQUIRE(gap(step.outcome(0), {0, -0.75, 0, -0.75}) == 0);
}

TEST_CASE("missing_eos refuses what does not fit, by name") {
    shaping_step<double> step{.truncated = {0}};
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(missing_eos{}); }) ==
            "rlgaf::missing_eos: terms.truncated: expected 2 elements, got 1");
    for (const double x : {-0.1, not_a_number}) REQUIRE(refuses(missing_eos{.penalty = x}, "missing_eos", "penalty"));
    REQUIRE_THROWS_AS(step.run(missing_eos{.penalty = -1}), rlgaf::option_error);
    REQUIRE_NOTHROW(missing_eos{.penalty = 0}.check());
}
