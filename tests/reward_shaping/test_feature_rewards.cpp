#include "rlgaf/reward_shaping/deviation_reward.hpp"
#include "rlgaf/reward_shaping/rank_reward.hpp"
#include "support/numbers.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
template <class T>
shaping_step<T> featured(const std::vector<double>& score, std::size_t width, const std::vector<double>& expert = {}) {
    shaping_step<T> step;
    step.begin(std::vector<std::uint32_t>(score.size() / width, 1));
    step.score.assign(score.begin(), score.end());
    step.expert_score.assign(expert.begin(), expert.end());
    step.width = width;
    step.group.assign(score.size() / width, 0);
    return step;
}
}  // namespace

TEST_CASE("deviation_reward: score plus gate times the samples' deviation, mapped and held") {
    // features 1 and 5: deviation 2; rows (score, gate, feature)
    auto step = featured<double>({0.5, 1, 1, -1, 0.25, 5}, 3);
    step.run(deviation_reward{});
    REQUIRE(gap(step.outcome(0), {2.5, -0.5}) < 1e-15);
    REQUIRE(step.allocated <= 8);  // the outcome itself
    auto mapped = featured<float>({0.5, 1, 1, -1, 0.25, 5}, 3);
    mapped.run(deviation_reward{.map = score_map::d});
    REQUIRE(gap(mapped.outcome(0), {sigmoid(2.5), sigmoid(-0.5)}) < 1e-7);
    auto held = featured<double>({0.5, 1, 1, -1, 0.25, 5}, 3);
    held.run(deviation_reward{.clip = 1});
    REQUIRE(gap(held.outcome(0), {1, -0.5}) < 1e-15);
    auto alike = featured<double>({3, 7, 3, 7}, 2);  // two numbers: the score is its own feature
    alike.run(deviation_reward{});
    REQUIRE(gap(alike.outcome(0), {3, 3}) == 0);
    auto narrow = featured<double>({1, 2}, 1);
    REQUIRE_THROWS_AS(narrow.run(deviation_reward{}), shape_error);
    REQUIRE(refuses(deviation_reward{.clip = 0}, "deviation_reward", "clip"));
}

TEST_CASE("rank_reward is rank_score of the step's features") {
    dice d(5);
    for (int i = 0; i < 50; ++i) {
        std::vector<double> x(4 * 3), e(4 * 3), expected(4);
        for (auto* side : {&x, &e})
            for (double& v : *side) v = d.normal();
        auto step = featured<double>(x, 3, e);
        step.run(rank_reward{.gamma = 2});
        workspace work;
        rank_score(std::span<const double>(x), std::span<const double>(e), 3, 2, std::span(expected), work);
        REQUIRE(step.outcome(0) == expected);
        for (const double r : expected) REQUIRE(r < 0);
    }
    // a row that equals one of two orthogonal demonstrations: K = e and 1, R = mean of e / (e + 1) and 1 / (1 + 1)
    auto near = featured<double>({1, 0, 1, 0}, 2, {1, 0, 0, 1});
    near.run(rank_reward{});
    REQUIRE(gap(near.outcome(0)[0], std::log((std::exp(1) / (std::exp(1) + 1) + 0.5) / 2)) < 1e-14);
    auto none = featured<double>({1, 2, 3, 4}, 2);
    REQUIRE_THROWS_AS(none.run(rank_reward{}), shape_error);
    REQUIRE(refuses(rank_reward{.gamma = 0}, "rank_reward", "gamma"));
}
