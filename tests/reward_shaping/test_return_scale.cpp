#include "rlgaf/reward_shaping/return_scale.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::return_scale;

namespace {
template <class T = double>
shaping_step<T> step_of(const table& token, const std::vector<double>& outcome, const table& mask = {}) {
    shaping_step<T> step{.log_prob = token, .mask = mask};
    step.begin(lengths_of(token));
    const std::span<double> r = step.result.add_outcome("given");
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = outcome[i];
    for (std::size_t b = 0; b < token.size(); ++b)
        for (std::size_t t = 0; t < token[b].size(); ++t)
            step.result.token().row(b)[t] = static_cast<T>(included(mask, b, t) ? token[b][t] : not_a_number);
    return step;
}
double deviation_of(const std::vector<double>& x) {
    double mean = 0, squares = 0;
    for (const double v : x) mean += v / static_cast<double>(x.size());
    for (const double v : x) squares += (v - mean) * (v - mean);
    return std::sqrt(squares / static_cast<double>(x.size() - 1));
}
}  // namespace

TEST_CASE("return_scale divides outcomes and tokens by the deviation of all returns so far") {
    return_scale::state state;
    const return_scale stage{.discount = 0.5, .clip = 100};
    // returns: 1, 0.5 + 2 + 4; -1 + 3. The masked token is neither read nor written.
    shaping_step<double> step = step_of({{1, 2, 9}, {-1}, {}}, {4, 3, 5}, {{1, 1, 0}, {1}, {}});
    step.run(stage, state);
    double by = deviation_of({1, 6.5, 2});
    REQUIRE(gap(step.outcome(0), {4 / by, 3 / by, 5 / by}) < 1e-15);
    REQUIRE(gap(step.token()[0][1], 2 / by) < 1e-15);
    REQUIRE(std::isnan(step.token()[0][2]));
    REQUIRE(gap(step.token()[1][0], -1 / by) < 1e-15);

    step = step_of({{7}, {1}}, {not_a_number, 2});
    step.run(stage, state);
    by = deviation_of({1, 6.5, 2, 7, 3});
    REQUIRE(std::isnan(step.outcome(0)[0]));
    REQUIRE(gap(step.outcome(0)[1], 2 / by) < 1e-15);
    REQUIRE(gap(step.token(), {{7 / by}, {1 / by}}) < 1e-15);

    auto copy = copy_through_archive(state);
    REQUIRE(copy.returns.count == 5);
    REQUIRE(gap(archived(copy), archived(state)) == 0);
}

TEST_CASE("return_scale without token rewards counts zeros before the end, and makes no token rewards") {
    return_scale::state state;
    shaping_step<double> step{.log_prob = {{0, 0, 0}, {0}}};
    for (int k = 0; k < 2; ++k) {
        step.begin({3, 1});
        const std::span<double> r = step.result.add_outcome("given");
        r[0] = 6, r[1] = 2;
        step.run(return_scale{}, state);
        REQUIRE(step.result.view().token.empty());
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(gap(step.outcome(0)[0], 6 / deviation_of({0, 0, 6, 2, 0, 0, 6, 2})) < 1e-14);
}

TEST_CASE("return_scale: float, equal returns, the clip, no rows, refusals") {
    return_scale::state wide, narrow, equal;
    auto a = step_of<double>({{0.5, 2}, {1}}, {1, -1});
    auto b = step_of<float>({{0.5, 2}, {1}}, {1, -1});
    a.run(return_scale{}, wide);
    b.run(return_scale{}, narrow);
    REQUIRE(gap(a.token(), b.token()) < 1e-6);
    REQUIRE(gap(a.outcome(0), b.outcome(0)) == 0);
    shaping_step<double> step = step_of({{0}, {0}}, {17.3, 17.3});
    step.run(return_scale{.clip = 20}, equal);
    REQUIRE(gap(step.outcome(0), {17.3, 17.3}) == 0);
    step = step_of({{0}, {0}}, {17.3, -17.3});
    step.run(return_scale{.clip = 0.5}, equal);
    REQUIRE(gap(step.outcome(0), {0.5, -0.5}) == 0);
    step = step_of({}, {});
    REQUIRE_NOTHROW(step.run(return_scale{}, equal));
    step = step_of({{0}}, {1});
    step.log_prob = {{0, 0}};
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(return_scale{}); }) ==
            "rlgaf::return_scale: token rewards row 0: expected 2 tokens, got 1");
    step.log_prob = {};
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(return_scale{}); }) ==
            "rlgaf::return_scale: terms.log_prob: expected 1 elements, got 0");
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(return_scale{.discount = x}, "return_scale", "discount"));
    for (const double x : {0.0, not_a_number}) REQUIRE(refuses(return_scale{.clip = x}, "return_scale", "clip"));
}
