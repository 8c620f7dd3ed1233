#include "rlgaf/reward_shaping/pair_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::raro_reward;
using rlgaf::verdict;

TEST_CASE("raro_reward: RARO's table of labels, and what a drawn label is worth on average") {
    const std::vector<double> z = {2, 0, 1, 0, 2, 1, 0, 1, 2, 1, 1, 1, 0, 1, 1, 1, 0, 1};  // expert, policy, tie
    REQUIRE(gap(score_reward(raro_reward{.label = verdict::likeliest}, z, 3), {0, 1, 0.6, 0, 1, 0}) == 0);
    REQUIRE(gap(score_reward(raro_reward{.reward_of_tie = 0.25, .label = verdict::likeliest}, z, 3)[2], 0.25) == 0);
    dice d(12);
    for (int i = 0; i < 500; ++i) {
        const std::vector<double> row = {3 * d.normal(), 3 * d.normal(), 3 * d.normal()};
        const double a = std::exp(row[0]), b = std::exp(row[1]), c = std::exp(row[2]);
        REQUIRE(gap(score_reward(raro_reward{}, row, 3)[0], (b + 0.6 * c) / (a + b + c)) < 1e-14);
        const std::vector<float> narrow(row.begin(), row.end());
        REQUIRE(gap(score_reward(raro_reward{}, narrow, 3)[0], (b + 0.6 * c) / (a + b + c)) < 1e-6);
    }
}

TEST_CASE("raro_reward: sampled labels are worth their expectation on average, and each is one of three") {
    dice d(13);
    for (int i = 0; i < 5; ++i) {
        shaping_step<double> step{.width = 3};
        const std::vector<double> z = {d.normal(), d.normal(), d.normal()};
        constexpr std::size_t rows = 1000, calls = 100;
        for (std::size_t b = 0; b < rows; ++b) step.score.insert(step.score.end(), z.begin(), z.end());
        step.group.assign(rows, 0);
        const double expected = score_reward(raro_reward{.reward_of_tie = 0.3}, z, 3)[0];
        const raro_reward stage{.reward_of_tie = 0.3, .label = verdict::sampled, .seed = 5};
        raro_reward::state state;
        std::vector<double> all, first;
        for (std::size_t k = 0; k < calls; ++k) {
            step.begin(std::vector<std::uint32_t>(rows, 1));
            step.run(stage, state);
            const std::vector<double> r = step.outcome(0);
            REQUIRE(r != first);  // calls draw anew
            all.insert(all.end(), r.begin(), r.end());
            first.assign(all.begin(), all.begin() + rows);
        }
        REQUIRE(state.draws == calls);
        double sum = 0, squares = 0;
        for (const double r : all) {
            REQUIRE((r == 0 || r == 0.3 || r == 1));
            sum += r, squares += r * r;
        }
        const double n = static_cast<double>(all.size()), mean = sum / n;
        REQUIRE(std::abs(mean - expected) < 4 * std::sqrt((squares / n - mean * mean) / n));
    }
}

TEST_CASE("raro_reward: sampled labels follow seed, call and row, and go on where they were saved") {
    const auto drawn = [](std::uint64_t seed, raro_reward::state& state, std::size_t rows) {
        shaping_step<double> step{.score = std::vector<double>(3 * rows, 0.0), .width = 3};
        step.group.assign(rows, 0);
        step.begin(std::vector<std::uint32_t>(rows, 1));
        step.run(raro_reward{.label = verdict::sampled, .seed = seed}, state);
        return step.outcome(0);
    };
    raro_reward::state a, b, c;
    const std::vector<double> first = drawn(1, a, 40), shorter = drawn(1, b, 10);
    REQUIRE(std::vector<double>(first.begin(), first.begin() + 10) == shorter);  // whatever comes after a row
    REQUIRE(drawn(2, c, 40) != first);
    raro_reward::state saved;
    const std::vector<double> archive = archived(a);
    archived(saved, &archive);
    const std::vector<double> second = drawn(1, a, 40);
    REQUIRE((second != first && drawn(1, saved, 40) == second));
    raro_reward::state untouched;
    shaping_step<double> step{.score = {0, 0, 0}, .group = {0}, .width = 3};
    step.begin({1});
    step.run(raro_reward{}, untouched);
    REQUIRE(untouched.draws == 0);
}

TEST_CASE("raro_reward at extremes, with NaN, and with what it refuses") {
    for (const verdict label : {verdict::expected, verdict::likeliest, verdict::sampled}) {
        const raro_reward stage{.label = label};
        REQUIRE(gap(score_reward(stage, std::vector<double>{1e4, 0, 0, -1e4, 1e4, 0, 0, 0, 1e4}, 3), {0, 1, 0.6}) == 0);
        for (std::size_t k = 0; k < 3; ++k) {
            std::vector<double> z = {0, 1, 2, 0, 1, 2};
            z[k] = not_a_number;
            const std::vector<double> r = score_reward(stage, z, 3);
            REQUIRE(std::isnan(r[0]));
            REQUIRE(!std::isnan(r[1]));
        }
        REQUIRE(score_reward(stage, std::vector<double>{}, 3).empty());
    }
    shaping_step<double> step{.score = {1, 2}, .width = 2};
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(raro_reward{}); }) ==
            "rlgaf::raro_reward: terms.width: expected 3 numbers a row, got 2");
    step.width = 3;
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(raro_reward{}); }) ==
            "rlgaf::raro_reward: terms.score: expected 3 elements, got 2");
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(raro_reward{.reward_of_tie = x}, "raro_reward", "reward_of_tie"));
}
