#pragma once
#include "rlgaf/training/adversarial_options.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct rlhf_options {
    std::size_t rounds = 100;  ///< of this call
    std::size_t rows = 512;    ///< samples a round, a multiple of the advantage's group size
    std::uint64_t seed = 1;
    rollout_options sampling{};
    bool recompute_old = false;  ///< evaluate old log-probs anew instead of trusting the sampler's
    double importance_cap = 2;   ///< see roll_out_options
    policy_update_options policy{.epochs = 4, .minibatches = 4};
    critic_update_options critic{.epochs = 4, .minibatches = 4};
    schedule policy_rate{};  ///< multiplies policy.step.learning_rate, by round of this call
    schedule critic_rate{};  ///< likewise
    /// First rounds of the trainer in which only the critic trains: a first run of fewer leaves the policy as it is.
    std::size_t critic_warmup = 5;
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass of roll_out, score and values at most; 0: all
    double log_prob_tolerance = 0;     ///< of the sanity gate of the first round; 0: 1e-3 for float, 1e-9 for double
    bool sync_reference = false;       ///< the reference follows the policy (TR-DPO); not with frozen_reference
    reference_sync reference{};        ///< how, by optimiser steps of the policy
    std::size_t schedule_from = 0;     ///< rounds that the schedules have behind them, as when a run goes on

    void check() const {
        detail::check_option(log_prob_tolerance >= 0, "rlhf_options", "log_prob_tolerance", "0 or positive",
                             log_prob_tolerance);
        as_adversarial().check();
    }
    /// Those of the loop, whose discriminator stays as it is.
    adversarial_options as_adversarial() const {
        return {.rounds = rounds,
                .rows = rows,
                .seed = seed,
                .sampling = sampling,
                .recompute_old = recompute_old,
                .importance_cap = importance_cap,
                .policy = policy,
                .policy_rate = policy_rate,
                .discriminator_updates = 0,
                .replay_capacity = 0,
                .discriminator_warmup = 0,
                .micro_batch_rows = micro_batch_rows,
                .log_prob_tolerance = log_prob_tolerance,
                .critic = critic,
                .critic_rate = critic_rate,
                .critic_warmup = critic_warmup,
                .sync_reference = sync_reference,
                .reference = reference,
                .schedule_from = schedule_from};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
