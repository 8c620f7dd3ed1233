#include "rlgaf/reward_shaping/kl_penalty.hpp"
#include "rlgaf/reward_shaping/normalize.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/ramp.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

TEST_CASE("ramp multiplies what its stage adds, step by step, and nothing else") {
    const pipeline inner{logit_reward{}, kl_penalty{.beta = 1}};
    const ramp stage{inner, schedule{.from = 1, .warmup = 4}};
    static_assert(component_of<decltype(stage), role::reward> && needs_reference<decltype(stage)>());
    state_of<std::remove_const_t<decltype(stage)>> state;
    shaping_step<double> step{
        .score = {4, not_a_number}, .log_prob = {{-1, -2}, {}}, .reference_log_prob = {{-2, -4}, {}}};
    for (int k = 0; k < 6; ++k) {
        step.begin({2, 0});
        const std::span<double> r = step.result.add_outcome("earlier");
        r[0] = 5;
        const double before = k % 2 ? 10 : 0;  // with and without token rewards of earlier stages
        if (k % 2)
            for (double& v : step.result.token().row(0)) v = before;
        step.run(stage, state);
        if (k > 1) REQUIRE(step.allocated == 0);
        const double weight = k < 4 ? (k + 1) / 4.0 : 1;
        REQUIRE(gap(step.outcome(0), {5, 0}) == 0);
        REQUIRE(step.outcome(1)[0] == 4 * weight);
        REQUIRE(std::isnan(step.outcome(1)[1]));
        REQUIRE(gap(step.token(), {{before - weight, before - 2 * weight}, {}}) == 0);
    }
    REQUIRE(state.step == 6);
}

TEST_CASE("ramp's memory is its step and its stage's, and survives an archive") {
    const ramp stage{pipeline{logit_reward{}, running_normalize{}}, schedule{}};
    state_of<std::remove_const_t<decltype(stage)>> state;
    for (int k = 0; k < 3; ++k) {
        shaping_step<float> step{.score = {1, 2, 4}};
        step.begin({1, 1, 1});
        step.run(stage, state);
        REQUIRE(step.result.view().token.empty());
    }
    auto copy = copy_through_archive(state);
    REQUIRE(copy.step == 3);
    REQUIRE(archived(copy).size() == 5);
    REQUIRE(gap(archived(copy), archived(state)) == 0);
}

TEST_CASE("ramp of a stage without memory, down to nothing; it checks both of its parts") {
    const ramp stage{d_reward{}, schedule{.shape = schedule_shape::linear, .from = 1, .to = 0, .steps = 2}};
    state_of<std::remove_const_t<decltype(stage)>> state;
    const double expected[] = {0.5, 0.25, 0, 0};
    for (const double e : expected) {
        shaping_step<double> step{.score = {0}};
        step.begin({1});
        step.run(stage, state);
        REQUIRE(step.outcome(0)[0] == e);
    }
    REQUIRE(refuses(ramp{logit_reward{.clip = -1}, schedule{}}, "logit_reward", "clip"));
    REQUIRE(refuses(ramp{logit_reward{}, schedule{.from = -1}}, "schedule", "from"));
}
