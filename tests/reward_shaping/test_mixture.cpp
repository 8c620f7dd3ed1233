#include "rlgaf/reward_shaping/mixture.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::organ_mixture;
using rlgaf::scale_outcome;

namespace {
shaping_step<double> two_outcomes() {
    shaping_step<double> step;
    step.begin({1, 1});
    for (const char* name : {"discriminator", "objective"}) {
        const std::span<double> r = step.result.add_outcome(name);
        r[0] = name[0] == 'd' ? 4 : 8;
        r[1] = not_a_number;
    }
    step.result.outcome(1)[1] = 2;
    return step;
}
}  // namespace

TEST_CASE("scale_outcome weighs the outcome of its name") {
    shaping_step<double> step = two_outcomes();
    step.run(scale_outcome{.weight = 0.25});
    REQUIRE(step.allocated == 0);
    REQUIRE(step.outcome(0)[0] == 1);
    REQUIRE(std::isnan(step.outcome(0)[1]));
    REQUIRE(gap(step.outcome(1), {8, 2}) == 0);
    step.run(scale_outcome{.name = "objective", .weight = 0});
    REQUIRE(gap(step.outcome(1), {0, 0}) == 0);
    REQUIRE(message_of<rlgaf::option_error>([&] { step.run(scale_outcome{.name = "objectiv"}); }) ==
            "rlgaf::scale_outcome: .name: expected the name of an outcome that an earlier stage adds, got "
            "\"objectiv\"");
    for (const double x : {infinity, not_a_number})
        REQUIRE(refuses(scale_outcome{.weight = x}, "scale_outcome", "weight"));
}

TEST_CASE("organ_mixture: lambda to the discriminator, the rest to the objective") {
    shaping_step<double> step = two_outcomes();
    step.run(organ_mixture{.lambda = 0.25});
    REQUIRE(step.outcome(0)[0] == 1);
    REQUIRE(std::isnan(step.outcome(0)[1]));
    REQUIRE(gap(step.outcome(1), {6, 1.5}) == 0);
    REQUIRE(message_of<rlgaf::option_error>([&] { step.run(organ_mixture{.objective = "x"}); }) ==
            "rlgaf::organ_mixture: .objective: expected the name of an outcome that an earlier stage adds, got \"x\"");
    REQUIRE(message_of<rlgaf::option_error>([&] { step.run(organ_mixture{.adversarial = ""}); }) ==
            "rlgaf::organ_mixture: .adversarial: expected the name of an outcome that an earlier stage adds, got "
            "\"\"");
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(organ_mixture{.lambda = x}, "organ_mixture", "lambda"));
}
