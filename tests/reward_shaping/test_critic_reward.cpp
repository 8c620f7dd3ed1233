#include "rlgaf/reward_shaping/critic_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

TEST_CASE("FAIRL: the discriminator sheet's sample values, its peak and its limits") {
    REQUIRE(gap(score_reward(fairl_reward{.clip = 100}, sheet_samples),
                {0.270671, 0.303265, 0, -0.824361, -14.778112}) < 1e-6);
    REQUIRE(gap(score_reward(fairl_reward{}, sheet_samples), {0.270671, 0.303265, 0, -0.824361, -10}) < 1e-6);
    const std::vector<double> peak = {-1.01, -1, -0.99}, far = {1e4, -1e4};
    const std::vector<double> r = score_reward(fairl_reward{}, peak);
    REQUIRE(gap(r[1], std::exp(-1.0)) < 1e-15);
    REQUIRE(r[1] > r[0]);
    REQUIRE(r[1] > r[2]);
    REQUIRE(gap(score_reward(fairl_reward{.score_limit = 2, .clip = infinity}, far),
                {-2 * std::exp(2.0), 2 * std::exp(-2.0)}) < 1e-12);
}

TEST_CASE("tanh and least squares by their definitions") {
    std::vector<double> expected;
    for (const double s : sheet_samples) expected.push_back(std::tanh(s));
    REQUIRE(gap(score_reward(tanh_reward{}, sheet_samples), expected) < 1e-15);
    REQUIRE(gap(score_reward(tanh_reward{}, std::vector<double>{1e4, -1e4}), {1, -1}) == 0);
    REQUIRE(gap(score_reward(least_squares_reward{}, sheet_samples), {-4.5, -1.125, -0.5, -0.125, -0.5}) == 0);
    REQUIRE(gap(score_reward(least_squares_reward{.target = 0}, sheet_samples), {-2, -0.125, 0, -0.125, -2}) == 0);
}

TEST_CASE("Critics' rewards: NaN does not apply, several scores a row are averaged, shapes and options have names") {
    check_score_stage(fairl_reward{}, "fairl_reward");
    check_score_stage(tanh_reward{}, "tanh_reward");
    check_score_stage(least_squares_reward{.target = 0.5}, "least_squares_reward");
    for (const double x : {0.0, -1.0, 701.0, not_a_number})
        REQUIRE(refuses(fairl_reward{.score_limit = x}, "fairl_reward", "score_limit"));
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE(refuses(fairl_reward{.clip = x}, "fairl_reward", "clip"));
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(least_squares_reward{.target = x}, "least_squares_reward", "target"));
}
