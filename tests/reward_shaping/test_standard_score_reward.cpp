#include "rlgaf/reward_shaping/standard_score_reward.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::standard_score_reward;

namespace {
template <class T = double>
std::vector<double> reward(const std::vector<T>& score, const std::vector<T>& fixed, std::size_t width = 1,
                           const standard_score_reward& stage = {}) {
    shaping_step<T> step{.score = score, .width = width, .fixed_score = fixed};
    for (int k = 0; k < 2; ++k) {
        step.begin(std::vector<std::uint32_t>(score.size() / width, 1));
        step.run(stage);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.name(0) == "discriminator");
    return step.outcome(0);
}
}  // namespace

TEST_CASE("standard_score_reward: by the fixed rows' mean and deviation") {
    REQUIRE(gap(reward({1, 4, -5}, {2, 4, 6, 8}),
                {-4 / std::sqrt(20.0 / 3), -1 / std::sqrt(20.0 / 3), -10 / std::sqrt(20.0 / 3)}) < 1e-15);
    REQUIRE(gap(reward<float>({1, 4}, {2, 4, 6, 8}), {-4 / std::sqrt(20.0 / 3), -1 / std::sqrt(20.0 / 3)}) < 1e-15);
    REQUIRE(gap(reward({1e4, -1e4}, {1, 3}), {10, -10}) == 0);
    REQUIRE(gap(reward({1e4, -1e4}, {1, 3}, 1, {.clip = 0.5}), {0.5, -0.5}) == 0);
    // two numbers a row, each by its own scale: (1 by 2, 4: -sqrt 2; 10 by 0, 20: 0) and so on
    REQUIRE(gap(reward({1, 10, 5, 20}, {2, 0, 4, 20}, 2),
                {-std::sqrt(2.0) / 2, (std::sqrt(2.0) + std::sqrt(0.5)) / 2}) < 1e-15);
}

TEST_CASE("standard_score_reward does not care how the discriminator moves its scale") {
    dice d(8);
    for (int i = 0; i < 200; ++i) {
        std::vector<double> s(5), f(7);
        for (auto* x : {&s, &f})
            for (double& v : *x) v = d.normal();
        const std::vector<double> before = reward(s, f);
        const double scale = d.uniform(0.1, 10), shift = d.normal();
        for (auto* x : {&s, &f})
            for (double& v : *x) v = scale * v + shift;
        REQUIRE(gap(reward(s, f), before) < 1e-10);
    }
}

TEST_CASE("standard_score_reward: equal or single fixed scores, NaN, no rows, refusals") {
    REQUIRE(gap(reward({1, 4}, {2, 2, 2}), {-1, 2}) == 0);
    REQUIRE(gap(reward({1, 4}, {2}), {-1, 2}) == 0);
    const std::vector<double> r = reward({not_a_number, 4}, {1, not_a_number, 3});
    REQUIRE(std::isnan(r[0]));
    REQUIRE(gap(r[1], std::sqrt(2.0)) < 1e-15);
    REQUIRE(reward({}, {1, 2}).empty());
    const auto message = [](const std::vector<double>& s, const std::vector<double>& f, std::size_t width) {
        return message_of<rlgaf::shape_error>([&] { reward(s, f, width); });
    };
    REQUIRE(message({1}, {}, 1) ==
            "rlgaf::standard_score_reward: terms.fixed_score: expected one or more rows of 1 numbers, got 0");
    REQUIRE(message({1, 2}, {1, 2, 3}, 2) ==
            "rlgaf::standard_score_reward: terms.fixed_score: expected one or more rows of 2 numbers, got 3");
    for (const double x : {0.0, not_a_number})
        REQUIRE(refuses(standard_score_reward{.clip = x}, "standard_score_reward", "clip"));
    static_assert(rlgaf::needs_fixed_score<standard_score_reward>());
}
