#include "rlgaf/reward_shaping/kl_step_penalty.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::kl_step_penalty;

namespace {
/// Three rows, the second empty: log-ratios 0.5, -0.5 and 1.5; their mean is 0.5.
shaping_step<double> three_rows() {
    shaping_step<double> step{.log_prob = {{-0.7, -2.4}, {}, {-0.5}}, .reference_log_prob = {{-1.2, -1.9}, {}, {-2}}};
    step.begin({2, 0, 1});
    return step;
}
kl_step_penalty stage(double target) { return {.controller = {.initial = 2, .target_per_token = target}}; }
}  // namespace

TEST_CASE("kl_step_penalty pays k1 by the coefficient of the step before, and doubles, keeps or halves it") {
    for (const auto& [target, factor] : {std::pair{0.3, 2.0}, {0.5, 1.0}, {0.76, 0.5}}) {
        kl_step_penalty::state state;
        shaping_step<double> step = three_rows();
        step.run(stage(target), state);
        REQUIRE(gap(step.token(), table{{-1, 1}, {}, {-3}}) < 1e-12);
        REQUIRE(state.beta == 2);
        REQUIRE(state.kl_per_token == Approx(0.5));  // over tokens, not rows
        REQUIRE(state.controller.beta == 2 * factor);
        step.begin({2, 0, 1});
        step.run(stage(target), state);
        REQUIRE(state.beta == 2 * factor);
        REQUIRE(gap(step.token(), table{{-factor, factor}, {}, {-3 * factor}}) < 1e-12);
    }
}

TEST_CASE("kl_step_penalty never reads masked slots, in both layouts") {
    for (const layout how : layouts) {
        kl_step_penalty::state state;
        shaping_step<double> step = three_rows();
        step.how = how;
        step.mask = {{1, 0}, {}, {1}};
        step.log_prob[0][1] = step.reference_log_prob[0][1] = not_a_number;
        step.run(stage(0.3), state);
        REQUIRE(state.kl_per_token == Approx(1));
        REQUIRE(gap(step.token(), table{{-1, 0}, {}, {-3}}) < 1e-12);
    }
}

TEST_CASE("kl_step_penalty holds the KL of a policy that gives way to it within a factor of the target") {
    kl_step_penalty::state state;
    shaping_step<double> step;
    for (int k = 0; k < 60; ++k) {  // its distance from the reference is 10 / (1 + beta) nats
        const double beta = state.controller.beta == 0 ? 2 : state.controller.beta;
        step.log_prob = {{-1}};
        step.reference_log_prob = {{-1 - 10 / (1 + beta)}};
        step.begin({1});
        step.run(stage(0.5), state);
    }
    REQUIRE((state.kl_per_token <= 0.75 && state.kl_per_token >= 0.5 / 1.5));
}

TEST_CASE("kl_step_penalty: no unmasked token, float, errors, and its memory inside a pipeline") {
    kl_step_penalty::state state;
    shaping_step<double> none;
    none.begin({});
    none.run(stage(1), state);
    REQUIRE(state.controller.beta == 0);
    shaping_step<double> masked = three_rows();
    masked.mask = {{0, 0}, {}, {0}};
    masked.run(stage(1), state);
    REQUIRE(state.controller.beta == 0);

    shaping_step<float> single{.log_prob = {{-1}}, .reference_log_prob = {{-2}}};
    single.begin({1});
    single.run(stage(0.1), state);
    REQUIRE((single.token()[0][0] == -2 && state.controller.beta == 4));

    const rlgaf::pipeline both{stage(1)};
    decltype(both)::state memory;
    shaping_step<double> step = three_rows();
    step.run(both, memory);
    REQUIRE(std::get<0>(memory.stage).kl_per_token == Approx(0.5));
    REQUIRE_THROWS_AS(stage(-1).check(), rlgaf::option_error);
    step.begin({2, 0, 1});
    step.log_prob[0][0] = not_a_number;
    REQUIRE_THROWS_AS(step.run(stage(1), state), rlgaf::numeric_error);
}
