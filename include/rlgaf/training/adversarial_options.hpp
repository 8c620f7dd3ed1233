#pragma once
#include "rlgaf/backend/parameter_average.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/training/update_critic.hpp"
#include "rlgaf/training/update_discriminator.hpp"
#include "rlgaf/training/update_policy.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct adversarial_options {
    std::size_t rounds = 100;  ///< of this call
    std::size_t rows = 512;    ///< samples a round, a multiple of the advantage's group size
    std::uint64_t seed = 1;
    rollout_options sampling{};
    bool recompute_old = false;  ///< evaluate old log-probs anew instead of trusting the sampler's
    double importance_cap = 2;   ///< see roll_out_options
    policy_update_options policy{};
    discriminator_update_options discriminator{};
    schedule policy_rate{};                 ///< multiplies policy.step.learning_rate, by round of this call
    schedule discriminator_rate{};          ///< likewise
    std::size_t discriminator_updates = 1;  ///< steps of the discriminator a round; 0 freezes it
    std::size_t discriminator_rows = 0;     ///< samples a discriminator step; 0: `rows`
    double replay_fraction = 0.5;           ///< in [0, 1): share of those that are past samples, once there are any
    std::size_t replay_capacity = 10000;    ///< past samples that are kept; 0: none
    /// First rounds of the trainer in which only the discriminator trains: a first run of fewer leaves the policy as it is.
    std::size_t discriminator_warmup = 10;
    std::size_t held_out_every = 10;   ///< held-out demonstrations are measured in the first and every n-th round, > 0
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass of roll_out and score at most; 0: all
    double log_prob_tolerance = 0;     ///< of the sanity gate of the first round; 0: 1e-3 for float, 1e-9 for double
    double warmup_accuracy = 1;        ///< in [0.5, 1]: the warm-up ends early once the discriminator is above this
    std::size_t replay_age = 0;        ///< past samples are forgotten after so many rounds; 0: never
    double beginnings =
        0;  ///< >= 0: so many beginnings of rows, cut at random, join a discriminator step for each sample
    std::size_t score_passes = 0;  ///< 0: rewards without dropout; else the mean of so many passes with it
    critic_update_options critic{.epochs = 4, .minibatches = 4};  ///< of with_critic
    schedule critic_rate{};         ///< multiplies critic.step.learning_rate, by round of this call
    std::size_t critic_warmup = 5;  ///< with a critic: first rounds of the trainer in which the policy does not train
    bool sync_reference = false;    ///< the reference follows the policy (TR-DPO); not with frozen_reference
    reference_sync reference{};     ///< how, by optimiser steps of the policy
    std::size_t sampling_attempts =
        1;  ///< with informative_groups, > 0: rounds that are sampled until enough groups teach something (DAPO), of which
            ///< the discriminator sees what is kept; 1: what drops is not replaced, and the discriminator sees it
    std::size_t schedule_from = 0;  ///< rounds that the schedules above have behind them, as when a run goes on

    void check() const {
        policy.check();
        discriminator.check();
        critic.check();
        reference.check();
        policy_rate.check();
        critic_rate.check();
        discriminator_rate.check();
        const auto check = [](bool ok, const char* field, const char* range, double value) {
            detail::check_option(ok, "adversarial_options", field, range, value);
        };
        check(replay_fraction >= 0 && replay_fraction < 1, "replay_fraction", "in [0, 1)", replay_fraction);
        check(sampling_attempts > 0, "sampling_attempts", "at least 1", 0);
        check(held_out_every > 0, "held_out_every", "at least 1", 0);
        check(log_prob_tolerance >= 0, "log_prob_tolerance", "0 or positive", log_prob_tolerance);
        check(warmup_accuracy >= 0.5 && warmup_accuracy <= 1, "warmup_accuracy", "in [0.5, 1]", warmup_accuracy);
        check(beginnings >= 0 && beginnings <= 100, "beginnings", "in [0, 100]", beginnings);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
