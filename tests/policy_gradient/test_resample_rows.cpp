#include "rlgaf/policy_gradient/resample_rows.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::resample_rows;
using rlgaf::resample_rule;

namespace {
using rows = std::vector<std::size_t>;
template <class T = double>
rows run(const resample_rows& o, const std::vector<double>& score, rlgaf::rng_key key = {.seed = 5, .step = 3}) {
    const std::vector<T> s(score.begin(), score.end());
    rlgaf::workspace work;
    work.a = {1e12};
    rows pick = {7, 7};
    o(std::span<const T>(s), key, work, pick);
    return pick;
}
/// Shares of the rows over many steps.
std::vector<double> shares(const resample_rows& o, const std::vector<double>& score, std::uint32_t steps = 20000) {
    std::vector<double> share(score.size(), 0.0);
    const double each = 1 / (static_cast<double>(steps) * static_cast<double>(score.size()));
    for (std::uint32_t step = 0; step < steps; ++step)
        for (const std::size_t i : run(o, score, {.seed = 11, .step = step})) share[i] += each;
    return share;
}
}  // namespace

TEST_CASE("resample_rows draws rows in proportion to verl's weights") {
    const std::vector<double> score = {1, -2, 0, 0.5};
    const double total = 1 + 4 + 0.25;
    REQUIRE(gap(shares({}, score), {1 / total, 4 / total, 0, 0.25 / total}) < 0.01);
    REQUIRE(gap(shares({.power = 1}, score), {1 / 3.5, 2 / 3.5, 0, 0.5 / 3.5}) < 0.01);
    REQUIRE(gap(shares({.power = 0}, score), {0.25, 0.25, 0.25, 0.25}) < 0.01);
    REQUIRE(gap(shares({.rule = resample_rule::max_min}, score), {0.5, 0.5, 0, 0}) < 0.01);
    REQUIRE(gap(shares({.rule = resample_rule::max_min}, {1, 3, 3, 0}), {0, 1.0 / 3, 1.0 / 3, 1.0 / 3}) < 0.01);
    REQUIRE(gap(shares({.rule = resample_rule::max_random}, score), {4.0 / 7, 1.0 / 7, 1.0 / 7, 1.0 / 7}) < 0.01);
    REQUIRE(gap(shares({.rule = resample_rule::max_random, .top_weight = 1}, score), {0.25, 0.25, 0.25, 0.25}) < 0.01);
}

TEST_CASE("resample_rows: as many rows as before, the same for the same key, others for another") {
    std::vector<double> score;
    dice d(91);
    for (int i = 0; i < 200; ++i) score.push_back(d.normal());
    const rows first = run({}, score);
    REQUIRE(first.size() == 200);
    REQUIRE(run({}, score) == first);
    REQUIRE(run({}, score, {.seed = 5, .step = 4}) != first);
    REQUIRE(run({}, score, {.seed = 6, .step = 3}) != first);
    for (const std::size_t i : first) REQUIRE(i < 200);
}

TEST_CASE("resample_rows never draws a row without a score or without weight") {
    for (const resample_rule rule : {resample_rule::power, resample_rule::max_min, resample_rule::max_random})
        for (std::uint32_t step = 0; step < 500; ++step) {
            const rows pick = run({.rule = rule}, {not_a_number, 1, 0, not_a_number, -3, not_a_number}, {1, step});
            REQUIRE(pick.size() == 6);
            for (const std::size_t i : pick) {
                REQUIRE((i == 1 || i == 2 || i == 4));
                if (rule != resample_rule::max_random) REQUIRE((i != 2));
            }
        }
    REQUIRE(run({}, {}).empty());
    REQUIRE(run({}, {not_a_number, not_a_number}).empty());
    REQUIRE(run({}, {0.3}) == rows{0});
    // No weight at all: every row alike.
    REQUIRE(gap(shares({}, {0, 0, not_a_number, 0}), {1.0 / 3, 1.0 / 3, 0, 1.0 / 3}) < 0.01);
    REQUIRE(gap(shares({.rule = resample_rule::max_min}, {2, 2, 2}), {1.0 / 3, 1.0 / 3, 1.0 / 3}) < 0.01);
}

TEST_CASE("resample_rows: scores of 1e200 to a high power do not overflow; float; no allocation twice") {
    REQUIRE(gap(shares({.power = 50}, {1e200, -1e200, 1e-200, 1}, 2000), {0.5, 0.5, 0, 0}) < 0.03);
    REQUIRE(run<float>({}, {1, -2, 0.5}) == run({}, {1, -2, 0.5}));
    const std::vector<float> s = {1, 2, 3};
    rlgaf::workspace work;
    rows pick;
    const auto call = [&] { resample_rows{}(std::span<const float>(s), {}, work, pick); };
    call();
    REQUIRE(allocations_of(call) == 0);
}

TEST_CASE("resample_rows refuses infinite scores and options out of range by name") {
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(resample_rows{.power = x}, "resample_rows", "power"));
    for (const double x : {0.0, -0.1, infinity, not_a_number})
        REQUIRE(refuses(resample_rows{.top_weight = x}, "resample_rows", "top_weight"));
    REQUIRE(message_of<rlgaf::numeric_error>([] {
                run({}, {1, -infinity});
            }) == "rlgaf::resample_rows: score[1]: expected a finite number or NaN, got -inf");
}
