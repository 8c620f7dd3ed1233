#pragma once
#include <cstddef>
#include <limits>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// One round in numbers, under the names of step_metrics where both measure the same. NaN = not measured in this round.
struct round_report {
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();

    std::size_t round = 0;   ///< rounds finished, this one included
    std::size_t rounds = 0;  ///< rounds of the whole run
    double seconds = 0;      ///< since the run began
    double rollout_seconds = 0, score_seconds = 0, policy_seconds = 0, discriminator_seconds = 0;  ///< of this round
    double tokens = 0;  ///< sampled in this round

    double reward_mean = none, reward_deviation = none;               ///< of the rows' rewards, all outcomes together
    double advantage_deviation = none, constant_reward_share = none;  ///< the latter: of the groups
    double score_expert = none, score_policy = none;                  ///< raw means
    double accuracy = none;  ///< share of (demonstration, fresh sample) pairs that the discriminator orders rightly
    double accuracy_held_out = none;  ///< the same with demonstrations that it never trained on
    double discriminator_loss = none, discriminator_grad_norm = none;
    std::size_t discriminator_steps = 0;
    double discriminator_regularizer = none;  ///< what score regularisers and input penalties added to the loss
    double input_gradient = none;             ///< mean norm, where an input penalty acts
    double discriminator_noise = none;        ///< deviation or probability, where there is noise
    double shortcut_accuracy = none;          ///< what length and ending alone tell, with shortcut_probe

    double policy_loss = none, policy_grad_norm = none;
    std::size_t policy_steps = 0;
    std::size_t discarded_steps = 0;       ///< gradients that were not finite, of any model, since the run began
    double kl_reference_per_token = none;  ///< k1, nats, at the sampling policy
    double kl_old_k3 = none, ratio_max = none, clip_fraction_low = none, clip_fraction_high = none,
           clip_fraction_dual = none;
    double entropy_sampled = none;                      ///< -mean log_prob of what was sampled, nats a token
    double length_mean = none, truncated_share = none;  ///< tokens; of all rows

    double kl_reference_per_row = none;  ///< k1, nats a row: what adaptive_kl_penalty holds on its target
    double kl_beta = none;               ///< what it paid for a nat
    double value_loss = none, explained_variance = none;  ///< of a critic; share of the returns' variance
    double critic_grad_norm = none;
    std::size_t critic_steps = 0;
    double critic_seconds = 0;  ///< of this round

    double entropy = none;              ///< of the policy, nats a token, over the round's steps, where a component asks
    double entropy_coefficient = none;  ///< of adaptive_entropy_bonus, in the next step
    double chosen_rows = none;          ///< that the policy trained on, where a component chooses them
    double informative_share = none;    ///< of the groups that were sampled, in all attempts at a round
    double sampling_attempts = none;    ///< at this round, where groups that drop are replaced
    double policy_epochs = none;        ///< begun; fewer than asked for: stop_kl was exceeded
    double weight_dropped_share =
        none;  ///< of the tokens that had a weight: those with weight 0; 1: nothing was learnt
    double constant_score_share = none;  ///< of the rows: those that the discriminator's reward cannot tell apart
    double weight_min = none, weight_mean = none, weight_max = none, weight_ess_fraction = none;
};

/// Calls f(name, value) for every number of a report: names are the fields'.
template <class F>
void for_each_metric(const round_report& r, F&& f) {
    f("round", static_cast<double>(r.round)), f("seconds", r.seconds);
    f("rollout_seconds", r.rollout_seconds), f("score_seconds", r.score_seconds);
    f("policy_seconds", r.policy_seconds), f("discriminator_seconds", r.discriminator_seconds);
    f("critic_seconds", r.critic_seconds), f("tokens", r.tokens);
    f("reward_mean", r.reward_mean), f("reward_deviation", r.reward_deviation);
    f("constant_reward_share", r.constant_reward_share), f("advantage_deviation", r.advantage_deviation);
    f("constant_score_share", r.constant_score_share);
    f("score_expert", r.score_expert), f("score_policy", r.score_policy);
    f("accuracy", r.accuracy), f("accuracy_held_out", r.accuracy_held_out);
    f("discriminator_loss", r.discriminator_loss), f("discriminator_grad_norm", r.discriminator_grad_norm);
    f("discriminator_steps", static_cast<double>(r.discriminator_steps));
    f("discriminator_regularizer", r.discriminator_regularizer), f("input_gradient", r.input_gradient);
    f("discriminator_noise", r.discriminator_noise), f("shortcut_accuracy", r.shortcut_accuracy);
    f("policy_loss", r.policy_loss), f("policy_grad_norm", r.policy_grad_norm);
    f("policy_steps", static_cast<double>(r.policy_steps)), f("policy_epochs", r.policy_epochs);
    f("chosen_rows", r.chosen_rows), f("informative_share", r.informative_share);
    f("sampling_attempts", r.sampling_attempts);
    f("discarded_steps", static_cast<double>(r.discarded_steps));
    f("kl_reference_per_token", r.kl_reference_per_token), f("kl_reference_per_row", r.kl_reference_per_row);
    f("kl_beta", r.kl_beta), f("kl_old_k3", r.kl_old_k3), f("ratio_max", r.ratio_max);
    f("clip_fraction_low", r.clip_fraction_low), f("clip_fraction_high", r.clip_fraction_high);
    f("clip_fraction_dual", r.clip_fraction_dual);
    f("entropy", r.entropy), f("entropy_sampled", r.entropy_sampled), f("entropy_coefficient", r.entropy_coefficient);
    f("length_mean", r.length_mean), f("truncated_share", r.truncated_share);
    f("weight_dropped_share", r.weight_dropped_share), f("weight_min", r.weight_min);
    f("weight_mean", r.weight_mean), f("weight_max", r.weight_max);
    f("weight_ess_fraction", r.weight_ess_fraction);
    f("value_loss", r.value_loss), f("explained_variance", r.explained_variance);
    f("critic_grad_norm", r.critic_grad_norm), f("critic_steps", static_cast<double>(r.critic_steps));
}

}  // namespace rlgaf::inline RLGAF_ABI
