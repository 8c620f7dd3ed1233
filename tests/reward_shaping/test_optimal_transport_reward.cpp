#include "rlgaf/reward_shaping/optimal_transport_reward.hpp"
#include "support/score_stage_checks.hpp"
#include "support/transport.hpp"

using namespace rlgaf_test;
using rlgaf::optimal_transport_reward;

namespace {
using numbers = std::vector<double>;
using stage = optimal_transport_reward;
}  // namespace

TEST_CASE("optimal_transport_reward equals the plain form of Sinkhorn's iterations") {
    dice d(3);
    for (int c = 0; c < 300; ++c) {
        const std::size_t n = 1 + d.below(5);
        numbers x(3 * n), e(3 * n);
        for (auto* all : {&x, &e})
            for (double& v : *all) v = static_cast<double>(static_cast<float>(d.normal()));
        const double epsilon = d.uniform(0.1, 1);
        const int iterations = 1 + static_cast<int>(d.below(40));
        const stage ot{.scale = 2, .epsilon = epsilon, .iterations = static_cast<std::uint32_t>(iterations)};
        numbers expected = plain_sinkhorn(x, e, 3, epsilon, iterations);
        for (double& v : expected) v *= 2;
        REQUIRE(gap(score_reward(ot, x, 3, e), expected) < 1e-11);
        const std::vector<float> narrow(x.begin(), x.end()), narrow_e(e.begin(), e.end());
        REQUIRE(gap(score_reward(ot, narrow, 3, narrow_e), expected) < 1e-11);
    }
}

TEST_CASE("optimal_transport_reward with a small epsilon is the best assignment") {
    // the demonstrations in another order, at other lengths, and turned a little
    const numbers x = {1, 0, 0, 1}, e = {0.1, 5, 2, -0.1};
    REQUIRE(gap(score_reward(stage{.epsilon = 0.01}, x, 2, e), {-1 + 2 / std::sqrt(4.01), -1 + 5 / std::sqrt(25.01)}) <
            1e-12);
}

TEST_CASE("optimal_transport_reward: zero vectors, rows that are not finite, one row, no rows") {
    REQUIRE(gap(score_reward(stage{}, numbers{0, 0, 1, 1}, 2, numbers{1, 1, 1, 1}), {-1, 0}) < 1e-15);
    REQUIRE(gap(score_reward(stage{}, numbers{1, 0}, 2, numbers{-3, 0}), {-2}) < 1e-15);
    const numbers bad = {1, 2, not_a_number, 0, 3, -1, infinity, 1}, e = {0, 1, 0, not_a_number, 1, 0, 2, 2};
    const numbers r = score_reward(stage{}, bad, 2, e);
    REQUIRE(std::isnan(r[1]));
    REQUIRE(std::isnan(r[3]));
    // two rows and three demonstrations are left: each row is carried in equal thirds
    REQUIRE(gap(r[0] + r[2],
                score_reward(stage{}, numbers{3, -1, 1, 2, not_a_number, 0}, 2, numbers{1, 0, 2, 2, 0, 1})[0] +
                    score_reward(stage{}, numbers{3, -1, 1, 2, not_a_number, 0}, 2, numbers{1, 0, 2, 2, 0, 1})[1]) <
            1e-12);
    REQUIRE(r[0] < 0);
    const numbers none = score_reward(stage{}, numbers{1, 2}, 1, numbers{not_a_number, not_a_number});
    REQUIRE(std::isnan(none[0]));
    REQUIRE(std::isnan(none[1]));
    REQUIRE(score_reward(stage{}, numbers{}, 2).empty());
}

TEST_CASE("optimal_transport_reward refuses what does not fit, by name") {
    shaping_step<double> step{.score = {1, 2}, .width = 2, .expert_score = {1}};
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(stage{}); }) ==
            "rlgaf::optimal_transport_reward: terms.expert_score: expected 2 elements, got 1");
    for (const double x : {0.0, -1.0, not_a_number}) {
        REQUIRE(refuses(stage{.scale = x}, "optimal_transport_reward", "scale"));
        REQUIRE(refuses(stage{.epsilon = x}, "optimal_transport_reward", "epsilon"));
    }
    REQUIRE(refuses(stage{.iterations = 0}, "optimal_transport_reward", "iterations"));
    static_assert(rlgaf::needs_expert_score<stage>());
}
