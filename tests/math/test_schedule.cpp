#include "rlgaf/math/schedule.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::adaptive_kl;
using rlgaf::kl_step_rule;
using rlgaf::schedule;
using rlgaf::schedule_shape;

TEST_CASE("schedule: constant, linear and cosine, with warm-up") {
    const schedule constant{.from = 0.3, .to = 9, .steps = 1, .warmup = 4};
    const double rise[] = {0.075, 0.15, 0.225, 0.3, 0.3, 0.3};
    for (std::uint64_t k = 0; k < 6; ++k) REQUIRE(gap(constant(k), rise[k]) < 1e-15);

    const schedule linear{.shape = schedule_shape::linear, .from = 2, .to = 1, .steps = 6, .warmup = 2};
    const double line[] = {1, 2, 2, 1.75, 1.5, 1.25, 1, 1, 1};
    for (std::uint64_t k = 0; k < 9; ++k) REQUIRE(gap(linear(k), line[k]) < 1e-15);

    const schedule cosine{.shape = schedule_shape::cosine, .from = 3, .to = 1, .steps = 4};
    const double wave[] = {3, 2 + std::sqrt(0.5), 2, 2 - std::sqrt(0.5), 1, 1};
    for (std::uint64_t k = 0; k < 6; ++k) REQUIRE(gap(cosine(k), wave[k]) < 1e-14);
    REQUIRE(cosine(1ull << 60) == 1);
}

TEST_CASE("schedule refuses a warm-up that never ends") {
    REQUIRE(refuses(schedule{.shape = schedule_shape::linear, .steps = 3, .warmup = 3}, "schedule", "warmup"));
    REQUIRE(refuses(schedule{.shape = schedule_shape::cosine, .steps = 0}, "schedule", "warmup"));
    REQUIRE_NOTHROW(schedule{.steps = 3, .warmup = 3}.check());
    REQUIRE_THROWS_AS((schedule{.shape = schedule_shape::linear, .steps = 3, .warmup = 4}(0)), rlgaf::option_error);
}

TEST_CASE("schedule refuses values that are negative or not finite") {
    for (const schedule_shape shape : {schedule_shape::constant, schedule_shape::linear, schedule_shape::cosine})
        for (const double x : {-0.1, infinity, -infinity, not_a_number}) {
            REQUIRE(refuses(schedule{.shape = shape, .from = x}, "schedule", "from"));
            REQUIRE(refuses(schedule{.shape = shape, .to = x}, "schedule", "to"));
        }
    REQUIRE_THROWS_AS(schedule{.from = -1}(0), rlgaf::option_error);
    REQUIRE_NOTHROW(schedule{.from = 0, .to = 0}.check());
}

TEST_CASE("adaptive_kl: the formula sheet's golden values (Ziegler et al. 2019)") {
    const adaptive_kl controller{.initial = 0.2, .target_per_sequence = 6, .horizon = 10000};
    const double measured[] = {12, 3, 6.5}, expected[] = {0.201024, 0.198976, 0.200427};
    for (int i = 0; i < 3; ++i) {
        adaptive_kl::state state;
        REQUIRE(gap(controller(state, measured[i], 256), expected[i]) < 1e-6);
        REQUIRE(gap(state.beta, expected[i]) < 1e-6);
    }
    adaptive_kl::state state;
    controller(state, 6, 256);
    REQUIRE(state.beta == 0.2);
    controller(state, 7.2, 5000);  // error 0.2: the bound itself
    REQUIRE(gap(state.beta, 0.2 * 1.1) < 1e-15);
    controller(state, infinity, 10000);
    REQUIRE(gap(state.beta, 0.2 * 1.1 * 1.2) < 1e-15);

    double* visited = nullptr;
    auto archive = [&](std::string_view name, double& x) {
        REQUIRE(name == "beta");
        visited = &x;
    };
    state.visit(archive);
    REQUIRE(visited == &state.beta);
}

TEST_CASE("adaptive_kl refuses options out of range, and a KL that is not a number") {
    for (const double x : {0.0, -1.0, not_a_number}) {
        REQUIRE(refuses(adaptive_kl{.initial = x}, "adaptive_kl", "initial"));
        REQUIRE(refuses(adaptive_kl{.target_per_sequence = x}, "adaptive_kl", "target_per_sequence"));
        REQUIRE(refuses(adaptive_kl{.horizon = x}, "adaptive_kl", "horizon"));
    }
    adaptive_kl::state state{.beta = 0.1};
    REQUIRE(message_of<rlgaf::numeric_error>([&] { adaptive_kl{}(state, not_a_number, 8); }) ==
            "rlgaf::adaptive_kl: kl_per_sequence: expected a number, got nan");
    REQUIRE(state.beta == 0.1);
    REQUIRE_THROWS_AS(adaptive_kl{.horizon = 0}(state, 1, 8), rlgaf::option_error);
}

TEST_CASE("kl_step_rule halves below target / 1.5 and doubles above 1.5 target (Schulman et al. 2017, section 4)") {
    const kl_step_rule rule{.initial = 1, .target_per_token = 0.03};
    kl_step_rule::state state;
    REQUIRE(rule(state, 0.03) == 1);
    REQUIRE(rule(state, 0.046) == 2);
    REQUIRE(rule(state, infinity) == 4);
    REQUIRE(rule(state, 0.0199) == 2);
    REQUIRE(rule(state, -0.1) == 1);        // a k1 estimate may be negative
    REQUIRE(rule(state, 0.03 / 1.5) == 1);  // the bounds themselves
    REQUIRE(rule(state, 0.03 * 1.5) == 1);
    REQUIRE(state.beta == 1);

    double* visited = nullptr;
    auto archive = [&](std::string_view name, double& x) {
        REQUIRE(name == "beta");
        visited = &x;
    };
    state.visit(archive);
    REQUIRE(visited == &state.beta);
}

TEST_CASE("kl_step_rule comes back from a thousand halvings and a thousand doublings") {
    const kl_step_rule rule{.initial = 1, .target_per_token = 0.01, .lowest = 1e-3, .highest = 1e3};
    kl_step_rule::state state;
    for (int i = 0; i < 2000; ++i) rule(state, 0);
    REQUIRE(state.beta == 1e-3);
    REQUIRE(rule(state, 1) == 2e-3);
    for (int i = 0; i < 2000; ++i) rule(state, 1);
    REQUIRE(state.beta == 1e3);
    REQUIRE(rule(state, 0) == 500);
}

TEST_CASE("Trap: the KL controllers' units; the same run means another thing per token and per sequence") {
    // Rows of 200 tokens at 0.03 nats a token: on target for Ziegler's 6 nats a row, three times over for 0.01 a token.
    const double per_token = 0.03, per_sequence = 200 * per_token;
    adaptive_kl::state sequence, misused;
    kl_step_rule::state token;
    REQUIRE(gap(adaptive_kl{.initial = 1, .target_per_sequence = 6}(sequence, per_sequence, 256), 1) < 1e-12);
    REQUIRE(kl_step_rule{.initial = 1, .target_per_token = 0.01}(token, per_token) == 2);
    REQUIRE(adaptive_kl{.initial = 1, .target_per_sequence = 6}(misused, per_token, 256) < 1);  // pushes the wrong way
}

TEST_CASE("kl_step_rule refuses options out of range, and a KL that is not a number") {
    for (const double x : {0.0, -1.0, not_a_number}) {
        REQUIRE(refuses(kl_step_rule{.initial = x}, "kl_step_rule", "initial"));
        REQUIRE(refuses(kl_step_rule{.target_per_token = x}, "kl_step_rule", "target_per_token"));
        REQUIRE(refuses(kl_step_rule{.lowest = x}, "kl_step_rule", "lowest"));
        REQUIRE(refuses(kl_step_rule{.highest = x}, "kl_step_rule", "highest"));
    }
    REQUIRE(refuses(kl_step_rule{.initial = 2, .highest = 1}, "kl_step_rule", "initial"));
    kl_step_rule::state state{.beta = 0.1};
    REQUIRE(message_of<rlgaf::numeric_error>([&] { kl_step_rule{}(state, not_a_number); }) ==
            "rlgaf::kl_step_rule: kl_per_token: expected a number, got nan");
    REQUIRE(state.beta == 0.1);
    REQUIRE_THROWS_AS(kl_step_rule{.lowest = 0}(state, 1), rlgaf::option_error);
}
