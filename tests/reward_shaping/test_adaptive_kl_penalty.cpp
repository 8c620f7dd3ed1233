#include "rlgaf/reward_shaping/adaptive_kl_penalty.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::adaptive_kl_penalty;

namespace {
/// Three rows, the second empty: log-ratios 0.5, -0.5 and 1.5.
shaping_step<double> three_rows() {
    shaping_step<double> step{.log_prob = {{-0.7, -2.4}, {}, {-0.5}}, .reference_log_prob = {{-1.2, -1.9}, {}, {-2}}};
    step.begin({2, 0, 1});
    return step;
}
constexpr adaptive_kl_penalty stage{.controller = {.initial = 2, .target_per_sequence = 5, .horizon = 30}};
}  // namespace

TEST_CASE("adaptive_kl_penalty pays k1 by the coefficient of the step before, per sequence and not per token") {
    adaptive_kl_penalty::state state;
    shaping_step<double> step = three_rows();
    step.run(stage, state);
    REQUIRE(gap(step.token(), table{{-1, 1}, {}, {-3}}) < 1e-12);
    REQUIRE(state.beta == 2);
    REQUIRE(state.kl_per_sequence == Approx(0.5));  // (0 + 0 + 1.5) / 3 rows, the empty one included
    const double next = 2 * (1 - 0.2 * 3 / 30);     // far below the target: the error is held at -0.2
    REQUIRE(state.controller.beta == Approx(next));

    step.begin({2, 0, 1});
    step.run(stage, state);
    REQUIRE(state.beta == Approx(next));
    REQUIRE(gap(step.token(), table{{-next / 2, next / 2}, {}, {-1.5 * next}}) < 1e-12);
}

TEST_CASE("adaptive_kl_penalty raises the coefficient above the target and never reads masked slots, in both layouts") {
    for (const layout how : layouts) {
        adaptive_kl_penalty::state state;
        shaping_step<double> step = three_rows();
        step.how = how;
        step.mask = {{1, 0}, {}, {1}};
        step.log_prob[0][1] = step.reference_log_prob[0][1] = not_a_number;
        step.log_prob[2][0] = 200 - 2;
        step.run(stage, state);
        REQUIRE(state.kl_per_sequence == Approx(200.5 / 3));
        REQUIRE(state.controller.beta == Approx(2 * (1 + 0.2 * 3 / 30)));
        REQUIRE(gap(step.token(), table{{-1, 0}, {}, {-400}}) < 1e-12);
    }
}

TEST_CASE("adaptive_kl_penalty drives the KL of a policy that gives way to the penalty to its target") {
    // The model of a policy: its distance from the reference is 10 / (1 + beta) nats.
    const adaptive_kl_penalty slow{.controller = {.initial = 0.1, .target_per_sequence = 4, .horizon = 20}};
    adaptive_kl_penalty::state state;
    shaping_step<double> step;
    for (int k = 0; k < 3000; ++k) {
        const double beta = state.controller.beta == 0 ? 0.1 : state.controller.beta;
        step.log_prob = {{-1}};
        step.reference_log_prob = {{-1 - 10 / (1 + beta)}};
        step.begin({1});
        step.run(slow, state);
    }
    REQUIRE(state.kl_per_sequence == Approx(4).epsilon(1e-3));
    REQUIRE(state.beta == Approx(1.5).epsilon(1e-3));
}

TEST_CASE("adaptive_kl_penalty: no rows, float, allocations, and its memory inside a pipeline") {
    adaptive_kl_penalty::state state;
    shaping_step<double> none;
    none.begin({});
    none.run(stage, state);
    REQUIRE(state.controller.beta == 0);
    REQUIRE(state.beta == 2);

    shaping_step<float> step{.log_prob = {{0, -200}}, .reference_log_prob = {{-200, 0}}};
    for (int k = 0; k < 2; ++k) {
        step.begin({2});
        step.run(stage, state);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(state.kl_per_sequence == 0);
    REQUIRE(gap(step.token(), as_float({{-200 * state.beta, 200 * state.beta}})) < 1e-4);

    rlgaf::pipeline both{stage};
    static_assert(rlgaf::needs_reference<decltype(both)>());
    decltype(both)::state memory;
    shaping_step<double> piped = three_rows();
    piped.run(both, memory);
    REQUIRE(std::get<0>(memory.stage).kl_per_sequence == Approx(0.5));
    std::size_t numbers = 0;
    const auto count = [&](const char*, double&) { ++numbers; };
    memory.visit(count);
    REQUIRE(numbers == 3);
}

TEST_CASE("adaptive_kl_penalty refuses what does not fit, by name") {
    shaping_step<double> bad = three_rows();
    bad.reference_log_prob = {};
    REQUIRE(message_of<rlgaf::shape_error>([&] { bad.run(stage); }) ==
            "rlgaf::kl_penalty: terms.reference_log_prob: expected 3 elements, got 0");
    bad = three_rows();
    bad.log_prob[0][0] = not_a_number;
    adaptive_kl_penalty::state state;
    REQUIRE_THROWS_AS(bad.run(stage, state), rlgaf::numeric_error);
    REQUIRE(state.controller.beta == 0);
    REQUIRE(refuses(adaptive_kl_penalty{.controller = {.initial = 0}}, "adaptive_kl", "initial"));
    REQUIRE(refuses(adaptive_kl_penalty{.controller = {.target_per_sequence = not_a_number}}, "adaptive_kl",
                    "target_per_sequence"));
}
