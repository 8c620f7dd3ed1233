#include "rlgaf/reward_shaping/ema_normalize.hpp"
#include "rlgaf/reward_shaping/normalize.hpp"
#include "rlgaf/reward_shaping/return_scale.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::clip_reward;
using rlgaf::group_normalize;
using rlgaf::running_normalize;

TEST_CASE("clip_reward holds every outcome within its limit; NaN stays") {
    shaping_step<double> step = step_with({{-3, 0.5, 3, not_a_number}, {infinity, -infinity, 1, -1}});
    step.run(clip_reward{.limit = 1});
    REQUIRE(step.allocated == 0);
    REQUIRE(gap(step.outcome(1), {1, -1, 1, -1}) == 0);
    REQUIRE(std::isnan(step.outcome(0)[3]));
    REQUIRE(step.outcome(0)[0] == -1);
    REQUIRE(step.outcome(0)[1] == 0.5);
    REQUIRE(step.outcome(0)[2] == 1);
    for (const double x : {0.0, -1.0, not_a_number}) {
        REQUIRE(refuses(clip_reward{.limit = x}, "clip_reward", "limit"));
        REQUIRE_THROWS_AS(step.run(clip_reward{.limit = x}), rlgaf::option_error);
    }
}

TEST_CASE("group_normalize on the policy sheet's group, apart for each reward and each group") {
    // GRPO's golden vector without epsilon, in group 1 of two that interleave; group 0 holds -1 and 1.
    shaping_step<double> step = step_with({{1, -1, 0, 0.5, 1, 0.25}, {5, 5, 5, 5, 5, 9}}, {1, 0, 1, 1, 0, 1});
    step.run(group_normalize{});
    step.run(group_normalize{});  // again: what is normal stays
    REQUIRE(step.allocated == 0);
    const double r = std::sqrt(0.5);
    REQUIRE(gap(step.outcome(0), {1.317465, -r, -1.024695, 0.146385, r, -0.439155}) < 1e-5);
    REQUIRE(gap(step.outcome(1), {-0.5, 0, -0.5, -0.5, 0, 1.5}) < 1e-12);
}

TEST_CASE("group_normalize: constant groups, groups of one and NaN") {
    for (const double c : {17.3, 0.1, -5.7, static_cast<double>(17.3f)}) {
        shaping_step<double> step = step_with({std::vector<double>(8, c)});
        step.run(group_normalize{});
        REQUIRE(gap(step.outcome(0), std::vector<double>(8, 0.0)) == 0);
    }
    shaping_step<double> step = step_with({{3, not_a_number, 5, 7}}, {0, 2, 2, 2});
    step.run(group_normalize{});
    REQUIRE(step.outcome(0)[0] == 0);
    REQUIRE(std::isnan(step.outcome(0)[1]));
    REQUIRE(gap(step.outcome(0)[3], std::sqrt(0.5)) < 1e-12);
    step.group = {0, 1, 3, 2};
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(group_normalize{}); }) ==
            "rlgaf::group_normalize: groups.id[2]: expected below 3, got 3");
    step.group = {0};
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(group_normalize{}); }) ==
            "rlgaf::group_normalize: groups.id: expected 4 elements, got 1");
}

TEST_CASE("group_normalize refuses a step whose groups all have one row") {
    shaping_step<double> step = step_with({{3, 4, 5}}, {0, 3, 1});  // group 2 has no row at all
    REQUIRE(message_of<rlgaf::option_error>([&] { step.run(group_normalize{}); }) ==
            "rlgaf::group_normalize: groups: expected a group of more than one row (groups of one row have no spread; "
            "give the advantage estimator a group_size above 1), got 3 groups of one row");
    REQUIRE(gap(step.outcome(0), {3, 4, 5}) == 0);
    step.group = {0, 3, 0};
    REQUIRE_NOTHROW(step.run(group_normalize{}));
    step = step_with({{3}}, {0});
    REQUIRE_NOTHROW(step.run(group_normalize{}));  // a single row: there is nothing to compare
    REQUIRE(step.outcome(0)[0] == 0);
    step = step_with({{}});
    REQUIRE_NOTHROW(step.run(group_normalize{}));
}

TEST_CASE("running_normalize uses all earlier steps, and takes in a step after it was used") {
    for (const bool keep_mean : {false, true}) {
        const running_normalize stage{.keep_mean = keep_mean};
        running_normalize::state state;
        std::vector<double> seen[2];
        dice d(12);
        for (int k = 0; k < 5; ++k) {
            std::vector<double> r[2];
            for (auto& x : r)
                for (int i = 0; i < 3; ++i) x.push_back(d.chance(0.2) ? not_a_number : 10 + d.normal());
            shaping_step<double> step = step_with({r[0], r[1]});
            step.run(stage, state);
            if (k > 0) REQUIRE(step.allocated == 0);
            for (std::size_t o = 0; o < 2; ++o) {
                double n = 0, mean = 0, squares = 0;
                for (const double v : seen[o]) n += 1, mean += v;
                mean = n > 0 ? mean / n : 0;
                for (const double v : seen[o]) squares += (v - mean) * (v - mean);
                const bool ready = n > 1;  // the first step passes unchanged
                for (std::size_t i = 0; i < 3; ++i) {
                    if (std::isnan(r[o][i])) {
                        REQUIRE(std::isnan(step.outcome(o)[i]));
                        continue;
                    }
                    const double by = ready ? std::sqrt(squares / (n - 1)) : 1;
                    const double expected = (r[o][i] - (ready && !keep_mean ? mean : 0)) / by;
                    REQUIRE(gap(step.outcome(o)[i], expected) < 1e-9);
                }
                for (const double v : r[o])
                    if (!std::isnan(v)) seen[o].push_back(v);
            }
        }
    }
}

TEST_CASE("running_normalize leaves rewards alone after constant steps") {
    running_normalize::state state;
    for (int k = 0; k < 3; ++k) {
        shaping_step<double> step = step_with({{17.3, 17.3, 17.3}});
        step.run(running_normalize{}, state);
        REQUIRE(gap(step.outcome(0), {17.3, 17.3, 17.3}) == 0);
    }
}

TEST_CASE("running_normalize, ema_normalize and return_scale take in nothing of a step with an infinite reward") {
    const auto check = [](const auto& stage, const char* name) {
        rlgaf::state_of<std::remove_cvref_t<decltype(stage)>> state;
        const auto run = [&](const std::vector<double>& outcome) {
            shaping_step<double> step = step_with({outcome});
            step.log_prob = table(outcome.size(), {-1.0});
            step.run(stage, state);
            return step.outcome(0);
        };
        run({1, 2, 4});
        const std::vector<double> before = archived(state);
        for (const double x : {infinity, -infinity})
            REQUIRE(Catch::contains(message_of<rlgaf::numeric_error>([&] {
                                        run({1, x, 4});
                                    }),
                                    std::string("rlgaf::") + name + ": reward '"));
        REQUIRE(gap(archived(state), before) == 0);
        const std::vector<double> after = run({1, not_a_number, 4});
        REQUIRE((std::isfinite(after[0]) && after[0] != 1 && std::isnan(after[1])));
    };
    check(running_normalize{}, "running_normalize");
    check(rlgaf::ema_normalize{}, "ema_normalize");
    check(rlgaf::return_scale{}, "return_scale");
}

TEST_CASE("running_normalize's memory survives an archive") {
    running_normalize::state state;
    shaping_step<double> step = step_with({{1, 2, 4}, {5, 6, 9}});
    step.run(running_normalize{}, state);
    struct {
        std::vector<double> values;
        void operator()(std::string_view, double& x) { values.push_back(x); }
        void operator()(std::string_view, std::uint64_t& x) { values.push_back(static_cast<double>(x)); }
    } writer;
    state.visit(writer);
    REQUIRE(writer.values.size() == 7);
    struct {
        std::vector<double> values;
        std::size_t next = 0;
        void operator()(std::string_view, double& x) { x = values[next++]; }
        void operator()(std::string_view, std::uint64_t& x) { x = static_cast<std::uint64_t>(values[next++]); }
    } reader{writer.values};
    running_normalize::state copy;
    copy.visit(reader);
    REQUIRE(copy.outcome.size() == 2);
    REQUIRE(copy.outcome[1].mean == state.outcome[1].mean);
    REQUIRE(copy.outcome[0].squares == state.outcome[0].squares);
}
