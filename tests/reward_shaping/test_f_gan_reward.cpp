#include "rlgaf/reward_shaping/f_gan_reward.hpp"
#include "support/score_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::divergence;
using rlgaf::f_gan_reward;

TEST_CASE("f_gan_reward: the discriminator sheet's losses, taken apart into its two rewards") {
    // L = -mean g(s_r) + mean f*(g(s_f))
    const std::vector<double> real = {2, -0.5, 0.3}, fake = {-1, 0.7, 0.1};
    const struct {
        divergence kind;
        double alpha, loss;
    } all[] = {{divergence::kl, 0.5, -0.172426},
               {divergence::reverse_kl, 0.5, -0.225042},
               {divergence::pearson, 0.5, -0.541667},
               {divergence::squared_hellinger, 0.5, 0.003893},
               {divergence::jensen_shannon, 0.5, -0.114226},
               {divergence::gan, 0.5, 1.272068},
               {divergence::total_variation, 0.5, -0.141797},
               {divergence::alpha, 0.5, 2.943182},
               {divergence::alpha, 1.5, -0.434889}};
    for (const auto& e : all) {
        const std::vector<double> g = score_reward(f_gan_reward{.divergence = {e.kind, e.alpha}}, real),
                                  c = score_reward(f_gan_reward{.divergence = {e.kind, e.alpha}, .saturating = true},
                                                   fake);
        REQUIRE(gap((c[0] + c[1] + c[2] - g[0] - g[1] - g[2]) / 3, e.loss) < 1e-6);
        check_score_stage(f_gan_reward{.divergence = {e.kind, e.alpha}}, "f_gan_reward");
        check_score_stage(f_gan_reward{.divergence = {e.kind, e.alpha}, .saturating = true}, "f_gan_reward");
    }
}

TEST_CASE("f_gan_reward holds saturated scores within its clip, and refuses its options by name") {
    const std::vector<double> far = {1e4, -1e4};
    REQUIRE(gap(score_reward(f_gan_reward{.divergence = {divergence::kl}, .saturating = true}, far),
                {10, std::exp(-21.0)}) < 1e-15);
    REQUIRE(gap(score_reward(f_gan_reward{.divergence = {divergence::gan}, .clip = 3}, far), {0, -3}) == 0);
    for (const double x : {0.0, not_a_number}) REQUIRE(refuses(f_gan_reward{.clip = x}, "f_gan_reward", "clip"));
    for (const double x : {1.0, not_a_number})
        REQUIRE(refuses(f_gan_reward{.divergence = {divergence::alpha, x}}, "f_gan_reward", "alpha"));
}
