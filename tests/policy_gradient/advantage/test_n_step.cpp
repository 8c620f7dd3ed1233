#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/advantage/n_step.hpp"

using namespace rlgaf_test;
using rlgaf::n_step;

namespace {
extra_arrays critic_of(const advantage_case& c) { return {.value = array_of(c, row_array::value)}; }

/// The definition by recursion: G of `steps` more steps from token k of a row.
double return_from(const n_step& o, const std::vector<double>& r, const std::vector<double>& v, double after,
                   std::size_t k, std::size_t steps) {
    const auto value = [&](std::size_t s) { return s < v.size() ? v[s] : after; };
    if (steps == 0 || k >= r.size()) return value(k);
    return r[k] +
           o.discount * ((1 - o.lambda) * value(k + 1) + o.lambda * return_from(o, r, v, after, k + 1, steps - 1));
}
table by_definition(const n_step& o, const advantage_case& c, const extra_arrays& x) {
    table gain(c.shape.size());
    for (std::size_t i = 0; i < gain.size(); ++i) {
        const std::vector<double> r = paid(c, i), v = unmasked(c, x.value, i);
        for (std::size_t k = 0; k < r.size(); ++k)
            gain[i].push_back(return_from(o, r, v, after(c, i), k, o.n == 0 ? r.size() : o.n) - v[k]);
    }
    return at_unmasked(c, gain);
}
n_step random_options(dice& d) {
    return {.n = d.below(6), .discount = d.chance(0.3) ? 1 : d.uniform(), .lambda = d.chance(0.4) ? 1 : d.uniform()};
}
}  // namespace

TEST_CASE("n_step keeps the promises of an advantage estimator") {
    check_advantage(
        "n_step", [](dice& d) { return with_row_arrays<n_step>{random_options(d)}; },
        [](const with_row_arrays<n_step>& o, const advantage_case& c) {
            return by_definition(o.estimator, c, critic_of(c));
        });
}

TEST_CASE("n_step's returns are what rlax's n_step_bootstrapped_returns and lambda_returns give") {
    const advantage_case c{.shape = {{0, 0, 0}}, .token = {{0, 0.5, 1}}, .bootstrap = {0.7}, .group = {0}};
    const extra_arrays x{.value = {{0.1, 0.2, 0.3}}};
    const auto returns = [&](const n_step& o) { return run_with(o, c, x).returns[0]; };
    REQUIRE(gap(returns({.n = 0, .discount = 0.9, .lambda = 0.8}), {1.279872, 1.7276, 1.63}) < 1e-12);
    REQUIRE(gap(returns({.n = 2, .discount = 0.9}), {0.693, 1.967, 1.63}) < 1e-12);
    REQUIRE(gap(returns({.n = 2, .discount = 0.9, .lambda = 0.5}), {0.4365, 1.3685, 1.63}) < 1e-12);
    REQUIRE(gap(run_with(n_step{.n = 2, .discount = 0.9}, c, x).advantage[0], {0.593, 1.767, 1.33}) < 1e-12);
}

TEST_CASE("n_step to the end of the row, or beyond it, is gae without whitening, its targets too") {
    dice d(31);
    for (int i = 0; i < 500; ++i) {
        const advantage_case c = random_advantage_case(d);
        const extra_arrays x = critic_of(c);
        const double discount = d.uniform(), lambda = d.uniform();
        const actor_critic_result plain =
            run_with(rlgaf::gae{.discount = discount, .lambda = lambda, .whiten = false}, c, x);
        for (const std::size_t n : {std::size_t{0}, std::size_t{1000}}) {
            const actor_critic_result r = run_with(n_step{.n = n, .discount = discount, .lambda = lambda}, c, x);
            REQUIRE(gap(r.advantage, plain.advantage) < 1e-12);
            REQUIRE(gap(r.returns, plain.returns) < 1e-12);
        }
        REQUIRE(gap(run_with(n_step{.n = 1, .discount = discount}, c, x).advantage,
                    run_with(rlgaf::gae{.discount = discount, .lambda = 0, .whiten = false}, c, x).advantage) < 1e-12);
    }
}

TEST_CASE("n_step: a row without a reward teaches neither policy nor critic; long rows keep their digits") {
    const advantage_case c{.shape = {{0, 0}, {0}}, .outcome = {{not_a_number, 1}}, .group = {0, 0}};
    const actor_critic_result r = run_with(n_step{}, c, {.value = {{5, 6}, {2}}});
    REQUIRE(same_bits(r.advantage, table{{0, 0}, {-1}}));
    REQUIRE(same_bits(r.returns, table{{5, 6}, {1}}));

    const std::size_t length = 4000;
    advantage_case tall{.shape = table(1, std::vector<double>(length)), .token = table(1), .group = {0}};
    extra_arrays x{.value = table(1)};
    dice d(32);
    for (std::size_t t = 0; t < length; ++t) tall.token[0].push_back(d.normal()), x.value[0].push_back(d.normal());
    REQUIRE(gap(run_with(n_step{.n = 7}, tall, x).advantage, by_definition({.n = 7}, tall, x)) < 1e-10);
}

TEST_CASE("n_step refuses options and arrays out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(n_step{.discount = x}, "n_step", "discount"));
        REQUIRE(refuses(n_step{.lambda = x}, "n_step", "lambda"));
    }
    const advantage_case c{.shape = {{0, 0}}, .outcome = {{1}}, .group = {0}};
    REQUIRE_THROWS_AS(run_with(n_step{.lambda = 2}, c, critic_of(c)), rlgaf::option_error);
    REQUIRE(message_of<rlgaf::shape_error>([&] { run_with(n_step{}, c, {}); }) ==
            "rlgaf::n_step: terms.value: expected 1 elements, got 0");
}
