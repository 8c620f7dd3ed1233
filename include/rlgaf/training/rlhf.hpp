#pragma once
#include "rlgaf/reward_shaping/missing_eos.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/training/adversarial_trainer.hpp"
#include "rlgaf/training/rlhf_options.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

struct rlhf_defaults {
    using reward = pipeline<logit_reward, adaptive_kl_penalty, missing_eos>;
    static constexpr const char* name = "rlhf_trainer";
};
template <class P, class S, class C, class... Components>
using rlhf_loop =
    adversarial_loop<check_trainer<rlhf_defaults, P, S, const no_experts_type, critic_component<C>, Components...>(),
                     rlhf_defaults, P, S, const no_experts_type, critic_component<C>, Components...>;

}  // namespace detail

/// The last step of RLHF: PPO against a frozen reward model, with a critic and a KL coefficient that adapts. What RLGAF
/// replaces, for comparison. The steps before it are fine_tune and fit_reward_model.
///
///   fine_tune(policy, demonstrations, {.epochs = 3});
///   fit_reward_model(reward_model, samples, pairs, {});
///   rlhf_trainer trainer{policy, reward_model, critic, gae{}, ppo_clip{},
///                        pipeline{logit_reward{.clip = 10}, adaptive_kl_penalty{}, missing_eos{.penalty = 1}}};
///   trainer.run({.rounds = 200}, progress_bar{});
///
/// It is the loop of adversarial_trainer with nothing to imitate: components as there, but for those of a discriminator
/// that learns. Missing ones: gae{}, ppo_clip{}, the pipeline above; no regulariser. The reward model never learns. The
/// reference is the policy as it was at first, unless frozen_reference is given or sync_reference lets it follow. A
/// true_reward may stand in for the reward model.
/// Errors: shape_error, option_error, numeric_error, before the step that they would spoil.
/// Source: Ziegler et al. 2019, arXiv 1909.08593; Ouyang et al. 2022, arXiv 2203.02155, section 3.5.
template <class P, class S, class C, class... Components>
class rlhf_trainer : public detail::rlhf_loop<P, S, C, Components...> {
    using loop = detail::rlhf_loop<P, S, C, Components...>;

public:
    rlhf_trainer(P& policy, S& reward_model, C& critic, Components... components)
        : loop(policy, reward_model, no_experts, with_critic(critic), static_cast<Components&&>(components)...) {}

    /// Runs `options.rounds` rounds; returns the report of the last one.
    template <class... Observers>
    round_report run(const rlhf_options& options, Observers&&... observers) {
        options.check();
        return loop::run(options.as_adversarial(), observers...);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
