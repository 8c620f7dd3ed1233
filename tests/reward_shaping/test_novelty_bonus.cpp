#include "rlgaf/reward_shaping/novelty_bonus.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::novelty_bonus;

TEST_CASE("novelty_bonus: the mean surprise of a row's unmasked tokens") {
    for (const layout how : layouts) {
        shaping_step<float> step{.log_prob = {{-1, -3, not_a_number}, {}, {not_a_number}, {-200}},
                                 .mask = {{1, 1, 0}, {}, {0}, {1}},
                                 .how = how};
        for (int k = 0; k < 2; ++k) {
            step.begin({3, 0, 1, 1});
            step.run(novelty_bonus{.weight = 0.5});
        }
        REQUIRE(step.allocated == 0);
        REQUIRE(step.result.name(0) == "novelty");
        REQUIRE(gap(step.outcome(0), {1, 0, 0, 100}) == 0);
    }
}

TEST_CASE("novelty_bonus refuses what does not fit, by name") {
    shaping_step<double> step{.log_prob = {{1}}, .mask = {{1, 1}}};
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(novelty_bonus{}); }) ==
            "rlgaf::novelty_bonus: terms.mask row 0: expected 1 tokens, got 2");
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(novelty_bonus{}); }) ==
            "rlgaf::novelty_bonus: terms.log_prob: expected 2 elements, got 1");
    for (const double x : {infinity, not_a_number})
        REQUIRE(refuses(novelty_bonus{.weight = x}, "novelty_bonus", "weight"));
}
