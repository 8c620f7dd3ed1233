#pragma once
#include "rlgaf/training/rlhf_loop.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The last step of RLHF: PPO against a frozen reward model, with a critic and a KL coefficient that adapts. What RLGAF
/// replaces, for comparison. The steps before it are fine_tune and fit_reward_model.
///
///   fine_tune(policy, demonstrations, {.epochs = 3});
///   fit_reward_model(reward_model, samples, pairs, {});
///   rlhf_trainer trainer{policy, reward_model, critic, gae{}, ppo_clip{},
///                        pipeline{logit_reward{.clip = 10}, adaptive_kl_penalty{}, missing_eos{.penalty = 1}}};
///   trainer.run({.rounds = 200}, progress_bar{});
///
/// Components come in any order. Missing ones: gae{}, ppo_clip{}, the pipeline above; no regulariser. Policy, reward
/// model and critic are referred to, never copied; the reward model never learns. The reference is the policy as it was
/// at first, unless frozen_reference is given or sync_reference lets it follow. A true_reward may stand in for the reward model. `run` may be called again
/// and goes on where it stopped. Truncated rows count as finished (as in TRL, verl, OpenRLHF): nothing is bootstrapped.
/// Errors: shape_error, option_error, numeric_error, before the step that they would spoil.
/// Source: Ziegler et al. 2019, arXiv 1909.08593; Ouyang et al. 2022, arXiv 2203.02155, section 3.5.
template <class P, class S, class C, class... Components>
class rlhf_trainer : public detail::rlhf_loop<detail::check_rlhf<P, S, C, Components...>(), P, S, C, Components...> {
public:
    rlhf_trainer(P& policy, S& reward_model, C& critic, Components... components)
        : detail::rlhf_loop<detail::check_rlhf<P, S, C, Components...>(), P, S, C, Components...>(
              policy, reward_model, critic, static_cast<Components&&>(components)...) {}
};

}  // namespace rlgaf::inline RLGAF_ABI
