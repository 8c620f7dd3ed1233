#pragma once
#include <limits>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What can be said about one optimiser step, under one name each. NaN = not measured: the arrays that it needs were not
/// given, or there is nothing to take a mean of. Means are over unmasked tokens unless a row is mentioned. Nats.
struct step_metrics {
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();

    double rows = 0, tokens = 0;  ///< rows with an unmasked token; unmasked tokens

    // How far the policy has moved from the one that sampled. d = log_prob - old_log_prob, ratio = exp(d).
    double kl_old_k1 = none;  ///< mean of -d; may be negative (verl "ppo_kl", cleanrl "old_approx_kl")
    double kl_old_k2 = none;  ///< mean of d^2 / 2 (TRL PPO "approxkl", there diluted by the padding)
    double kl_old_k3 = none;  ///< mean of ratio - 1 - d (cleanrl "approx_kl")
    double ratio_mean = none, ratio_variance = none, ratio_max = none;
    double clip_fraction = none;           ///< ratio out of bounds on the side that its advantage clips (verl, TRL PPO)
    double clip_fraction_low = none;       ///< of them below, A < 0
    double clip_fraction_high = none;      ///< of them above, A > 0
    double clip_fraction_dual = none;      ///< above dual_clip, A < 0 (verl "clipfrac_lower")
    double clip_fraction_any_sign = none;  ///< ratio out of bounds whatever the advantage (cleanrl "clipfrac")
    double clip_fraction_low_row_min = none;   ///< least of the rows' clip_fraction_low
    double clip_fraction_high_row_max = none;  ///< largest of the rows' clip_fraction_high

    double entropy = none;                  ///< of the policy, per token
    double entropy_sampled_per_row = none;  ///< mean over rows of the sum of -old_log_prob (TRL PPO)
    double kl_reference_per_token = none;   ///< k1 of KL(policy || reference) (TRL, verl)
    double kl_reference_per_row = none;     ///< the same, summed over each row: the unit of adaptive_kl
    double kl_reference_k3 = none;          ///< k3, per token

    // The sampler against the trainer: see sampling_mismatch.
    double sampler_difference_mean = none, sampler_difference_max = none;
    double sampler_ratio_min = none, sampler_ratio_mean = none, sampler_ratio_max = none;
    double sampler_ess_fraction = none, sampler_chi2_token = none, sampler_chi2_sequence = none;
    double sampler_kl_k1 = none, sampler_kl_k3 = none;
    double perplexity = none, sampler_perplexity = none;
    double log_perplexity_difference = none, perplexity_ratio = none;

    double reward_mean = none, reward_deviation = none;  ///< over rows with a reward
    double constant_row_share = none;  ///< rows whose group has equal rewards (TRL "frac_reward_zero_std")
    double advantage_mean = none, advantage_deviation = none, advantage_min = none, advantage_max = none;
    double return_mean = none, return_min = none, return_max = none;
    double value_mean = none, value_min = none, value_max = none;
    double explained_variance = none;   ///< NaN also where the returns are all equal
    double value_clip_fraction = none;  ///< the clipped error is the larger one

    double length_mean = none, length_min = none, length_max = none;  ///< tokens a row, masked ones too
    double truncated_share = none;                                    ///< of all rows
    double terminated_length_mean = none, terminated_length_min = none, terminated_length_max = none;

    double grad_norm = none;       ///< before clipping, of the whole step
    double signal = none;          ///< grad_norm^2 (verl's first variance proxy)
    double variance_proxy = none;  ///< mean over rows of (mean advantage)^2 times the sum of score_norm (verl's second)

    /// Calls f(const char* name, double value) for each of them, in this order.
    template <class F>
    void for_each_metric(F&& f) const {
        f("rows", rows), f("tokens", tokens);
        f("kl_old_k1", kl_old_k1), f("kl_old_k2", kl_old_k2), f("kl_old_k3", kl_old_k3);
        f("ratio_mean", ratio_mean), f("ratio_variance", ratio_variance), f("ratio_max", ratio_max);
        f("clip_fraction", clip_fraction);
        f("clip_fraction_low", clip_fraction_low), f("clip_fraction_high", clip_fraction_high);
        f("clip_fraction_dual", clip_fraction_dual), f("clip_fraction_any_sign", clip_fraction_any_sign);
        f("clip_fraction_low_row_min", clip_fraction_low_row_min);
        f("clip_fraction_high_row_max", clip_fraction_high_row_max);
        f("entropy", entropy), f("entropy_sampled_per_row", entropy_sampled_per_row);
        f("kl_reference_per_token", kl_reference_per_token), f("kl_reference_per_row", kl_reference_per_row);
        f("kl_reference_k3", kl_reference_k3);
        f("sampler_difference_mean", sampler_difference_mean), f("sampler_difference_max", sampler_difference_max);
        f("sampler_ratio_min", sampler_ratio_min), f("sampler_ratio_mean", sampler_ratio_mean);
        f("sampler_ratio_max", sampler_ratio_max), f("sampler_ess_fraction", sampler_ess_fraction);
        f("sampler_chi2_token", sampler_chi2_token), f("sampler_chi2_sequence", sampler_chi2_sequence);
        f("sampler_kl_k1", sampler_kl_k1), f("sampler_kl_k3", sampler_kl_k3);
        f("perplexity", perplexity), f("sampler_perplexity", sampler_perplexity);
        f("log_perplexity_difference", log_perplexity_difference), f("perplexity_ratio", perplexity_ratio);
        f("reward_mean", reward_mean), f("reward_deviation", reward_deviation);
        f("constant_row_share", constant_row_share);
        f("advantage_mean", advantage_mean), f("advantage_deviation", advantage_deviation);
        f("advantage_min", advantage_min), f("advantage_max", advantage_max);
        f("return_mean", return_mean), f("return_min", return_min), f("return_max", return_max);
        f("value_mean", value_mean), f("value_min", value_min), f("value_max", value_max);
        f("explained_variance", explained_variance), f("value_clip_fraction", value_clip_fraction);
        f("length_mean", length_mean), f("length_min", length_min), f("length_max", length_max);
        f("truncated_share", truncated_share), f("terminated_length_mean", terminated_length_mean);
        f("terminated_length_min", terminated_length_min), f("terminated_length_max", terminated_length_max);
        f("grad_norm", grad_norm), f("signal", signal), f("variance_proxy", variance_proxy);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
