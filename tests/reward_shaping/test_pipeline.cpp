#include "rlgaf/reward_shaping/as_reward.hpp"
#include "rlgaf/reward_shaping/kl_penalty.hpp"
#include "rlgaf/reward_shaping/missing_eos.hpp"
#include "rlgaf/reward_shaping/normalize.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

TEST_CASE("A pipeline runs its stages in order, each with its own memory") {
    const pipeline stages{logit_reward{.clip = 2}, running_normalize{}, missing_eos{.penalty = 3},
                          kl_penalty{.beta = 1}, as_reward("mine", [](const no_batch&, std::size_t) { return 1.0; })};
    shaping_step<double> step{.score = {5, 1, 0},
                              .log_prob = {{-1}, {-2}, {}},
                              .reference_log_prob = {{-1.5}, {-1}, {}},
                              .truncated = {0, 0, 1}};
    state_of<std::remove_const_t<decltype(stages)>> state;
    for (int k = 0; k < 2; ++k) {
        step.begin({1, 1, 0});
        step.run(stages, state);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.outcomes() == 3);
    REQUIRE(gap(step.outcome(0), {1, 0, -1}) < 1e-12);  // 2, 1, 0 by the first step's mean 1 and deviation 1
    REQUIRE(gap(step.outcome(1), {0, 0, -3}) == 0);     // added after the normaliser: untouched
    REQUIRE(gap(step.outcome(2), {1, 1, 1}) == 0);
    REQUIRE(gap(step.token(), table{{-0.5}, {1}, {}}) < 1e-12);
}

TEST_CASE("A pipeline is a stage, needs the reference if one of its stages does, and checks all of them") {
    const pipeline inner{logit_reward{}, kl_penalty{}};
    const pipeline outer{inner, missing_eos{}};
    const pipeline<logit_reward> plain{logit_reward{}};
    static_assert(component_of<decltype(outer), role::reward>);
    static_assert(needs_reference<decltype(outer)>() && !needs_reference<decltype(plain)>());
    shaping_step<float> step{.score = {1}, .log_prob = {{-1}}, .reference_log_prob = {{-1}}, .truncated = {1}};
    step.begin({1});
    step.run(outer);
    REQUIRE(gap(step.outcome(0), {1}) == 0);
    REQUIRE(gap(step.outcome(1), {-1}) == 0);

    REQUIRE(refuses(pipeline{logit_reward{}, missing_eos{.penalty = -1}}, "missing_eos", "penalty"));
    REQUIRE(refuses(pipeline{pipeline{kl_penalty{.beta = -1}}, missing_eos{}}, "kl_penalty", "beta"));
    const pipeline<> nothing;
    nothing.check();
    step.begin({1});
    step.run(nothing);
    REQUIRE(step.result.outcomes() == 0);
}

TEST_CASE("A pipeline's memory is that of its stages, in order") {
    const pipeline stages{running_normalize{}, logit_reward{}, running_normalize{}};
    state_of<std::remove_const_t<decltype(stages)>> state;
    std::get<2>(state.stage).outcome.resize(1);
    struct {
        std::vector<std::uint64_t> counts;
        void operator()(std::string_view, double&) {}
        void operator()(std::string_view, std::uint64_t& n) { counts.push_back(n); }
    } archive;
    state.visit(archive);
    REQUIRE(archive.counts == std::vector<std::uint64_t>{0, 1});
}
