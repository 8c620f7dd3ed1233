#include "support/catch.hpp"
#include "training/small_language.hpp"

/// A reward that is known stands in for the discriminator: every estimator and every loss must raise it.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;

/// Twos are good, ones are bad.
double worth(std::span<const std::int32_t> row) {
    double sum = 0;
    for (const std::int32_t t : row) sum += t == 2 ? 1 : t == 1 ? -1 : 0;
    return sum;
}
double worth_of_row(const batch& b, std::size_t i) { return worth(b.row(i)); }
double same_for_all(const batch&, std::size_t) { return 0.3; }
using reward_function = double (*)(const batch&, std::size_t);

struct gain {
    double before, after;    ///< exact expected rewards
    double standard_errors;  ///< of the last round's mean above the first expected reward
    bool untouched;          ///< the policy has its first bits
};

template <class Advantage, class Loss>
gain train(Advantage advantage, Loss loss, reward_function reward, std::size_t rounds = 60) {
    ngram_policy<double> policy(small_policy(adamw{}));
    const std::vector<double> at_first = parameters_of(policy);
    true_reward judge{reward};
    adversarial_trainer trainer{policy, judge, no_experts, advantage, loss};
    gain g{};
    g.before = expected_reward(policy, worth);
    auto options = short_run(rounds, 0.05);
    options.rows = 24;  // so that the mean of 24 times 0.3 is not 0.3
    const round_report r = trainer.run(options);
    g.after = expected_reward(policy, worth);
    g.standard_errors = (r.reward_mean - g.before) / (r.reward_deviation / std::sqrt(24.0));
    g.untouched = same_bits(parameters_of(policy), at_first);
    return g;
}

template <class Advantage, class Loss>
void learns(const char* name, Advantage advantage, Loss loss) {
    const gain g = train(advantage, loss, worth_of_row);
    INFO(name << ": expected reward " << g.before << " -> " << g.after << ", " << g.standard_errors
              << " standard errors");
    CHECK(g.before < 0.5);
    CHECK(g.after > g.before + 1.5);
    CHECK(g.standard_errors > 4);
}

}  // namespace

TEST_CASE("true reward: every estimator raises it, with either loss", "[training]") {
    learns("grpo", grpo{.group_size = 4}, ppo_clip{});
    learns("grpo", grpo{.group_size = 4}, policy_gradient_loss{});
    learns("grpo, no scale", grpo{.group_size = 4, .scale = reward_scale::none}, ppo_clip{});
    learns("grpo, scale of the step", grpo{.group_size = 4, .scale = reward_scale::batch}, ppo_clip{});
    learns("rloo", rloo{.group_size = 4}, ppo_clip{});
    learns("rloo", rloo{.group_size = 4}, policy_gradient_loss{});
    for (const reinforce_baseline b : {reinforce_baseline::none, reinforce_baseline::batch_mean,
                                       reinforce_baseline::ema, reinforce_baseline::per_step}) {
        learns("reinforce", reinforce{.baseline = b}, ppo_clip{});
        learns("reinforce", reinforce{.baseline = b}, policy_gradient_loss{});
    }
}

TEST_CASE("true reward: a constant one teaches nothing, to the bit", "[training]") {
    REQUIRE(train(grpo{.group_size = 4}, ppo_clip{}, same_for_all, 3).untouched);
    REQUIRE(train(grpo{.group_size = 3, .scale = reward_scale::none}, ppo_clip{}, same_for_all, 3).untouched);
    REQUIRE(train(grpo{.group_size = 0, .scale = reward_scale::batch}, ppo_clip{}, same_for_all, 3).untouched);
    REQUIRE(train(rloo{.group_size = 3}, policy_gradient_loss{}, same_for_all, 3).untouched);
    REQUIRE(train(rloo{.group_size = 0}, policy_gradient_loss{}, same_for_all, 3).untouched);
    for (const reinforce_baseline b : {reinforce_baseline::batch_mean, reinforce_baseline::per_step})
        REQUIRE(train(reinforce{.baseline = b}, ppo_clip{}, same_for_all, 3).untouched);
    // Without a baseline it does teach: more of whatever was sampled.
    REQUIRE(!train(reinforce{.baseline = reinforce_baseline::none}, ppo_clip{}, same_for_all, 3).untouched);
}

TEST_CASE("true reward: there is no discriminator to wait for", "[training]") {
    ngram_policy<double> policy(small_policy());
    true_reward judge{&worth_of_row};
    adversarial_trainer trainer{policy, judge, no_experts, rloo{.group_size = 4}};
    auto options = short_run(1);
    options.discriminator_warmup = 10;
    const round_report r = trainer.run(options);
    REQUIRE(r.policy_steps == 1);
    REQUIRE(r.discriminator_steps == 0);
    REQUIRE(is_nan(&r.accuracy));
    double mean = 0;
    for (std::size_t i = 0; i < 16; ++i) mean += worth(trainer.last_round().batch.row(i)) / 16;
    REQUIRE(r.reward_mean == Approx(mean));
    REQUIRE(r.score_policy == Approx(mean));
}

TEST_CASE("true reward: as one stage beside others", "[training]") {
    ngram_policy<double> policy(small_policy(adamw{}));
    true_reward nothing{&same_for_all};
    adversarial_trainer trainer{
        policy, nothing, no_experts, rloo{.group_size = 4},
        pipeline{logit_reward{}, as_reward("twos", &worth_of_row), missing_eos{.penalty = 0.5}}};
    const double before = expected_reward(policy, worth);
    trainer.run(short_run(60, 0.05));
    REQUIRE(expected_reward(policy, worth) > before + 1);
    REQUIRE(trainer.last_round().reward.outcomes() == 3);
    REQUIRE(trainer.last_round().reward.name(1) == "twos");
}
