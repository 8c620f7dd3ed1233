#include "rlgaf/reward_shaping/length_debias.hpp"
#include "support/length_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::length_debias;

TEST_CASE("length_debias takes beta log(1 + n) from the outcome of that name") {
    const length_debias stage{.beta = 0.5};
    REQUIRE(gap(length_reward(stage, {0, 1, 9}, {}, {1, 2, 3}), {1, 2 - 0.5 * std::log(2), 3 - 0.5 * std::log(10)}) <
            1e-15);
    REQUIRE(gap(length_reward<float>(stage, {3}, {{0, 1, 0}}, {2}), {2 - 0.5 * std::log(2)}) < 1e-15);
    REQUIRE(std::isnan(length_reward(stage, {1}, {}, {not_a_number})[0]));
}

TEST_CASE("length_debias refuses what does not fit, by name") {
    check_length_stage(length_debias{}, "length_debias");
    shaping_step<double> step{.log_prob = {{0}}};
    step.begin({1});
    step.result.add_outcome("disc");
    REQUIRE(message_of<rlgaf::option_error>([&] { step.run(length_debias{}); }) ==
            "rlgaf::length_debias: .outcome: expected the name of an outcome that an earlier stage adds, got "
            "\"discriminator\"");
    REQUIRE_NOTHROW(step.run(length_debias{.outcome = "disc"}));
    for (const double x : {infinity, not_a_number}) REQUIRE(refuses(length_debias{.beta = x}, "length_debias", "beta"));
}
