#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// PPO's clipped surrogate, with separate bounds (clip-higher) and the dual clip for negative advantages.
/// Formula: r = exp(log_prob - old_log_prob);  L = sum of w_i f_it l_it over unmasked tokens,
///          A >= 0: l = -A min(r, 1 + clip_high);   A < 0: l = -A min(max(r, 1 - clip_low), dual_clip).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A r where nothing is clipped, 0 where it is. Constants: all but log_prob.
/// Units:   nats. The log-ratio is held within +-20; outside, the ratio is constant and has no gradient.
/// At kinks: r equal to a bound counts as not clipped.
/// Errors:  shape_error; option_error. No allocation, one pass.
/// Needs:   old_log_prob at the same temperature as log_prob.
/// Source:  Schulman et al. 2017, arXiv 1707.06347, equation 7; clip_high: Yu et al. 2025, arXiv 2503.14476; dual_clip:
///          Ye et al. 2019, arXiv 1912.09729, equation 5.
struct ppo_clip {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 0.2;    ///< in [0, 1)
    double clip_high = 0.28;  ///< >= 0; PPO: 0.2, DAPO: 0.28
    double dual_clip = 3;     ///< > 1 (verl: 3), or 0: off

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "ppo_clip", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "ppo_clip", "clip_high", "0 or positive", clip_high);
        detail::check_option(dual_clip == 0 || dual_clip > 1, "ppo_clip", "dual_clip", "above 1, or 0 for off",
                             dual_clip);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "ppo_clip");
        detail::check_same_shape(terms.log_prob, terms.old_log_prob, "ppo_clip", "terms.old_log_prob");
        detail::check_same_shape(terms.log_prob, terms.advantage, "ppo_clip", "terms.advantage");
        const double lowest = 1 - clip_low, highest = 1 + clip_high;
        const double ceiling = dual_clip > 0 ? dual_clip : std::numeric_limits<double>::infinity();
        policy_loss_stats stats;
        for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
            const auto log_prob = terms.log_prob.row(b), old = terms.old_log_prob.row(b), gain = terms.advantage.row(b),
                       factor = row_if_given(terms.token_factor, b);
            const auto d_row = d_log_prob.row(b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < log_prob.size(); ++t) {
                if (!included[t]) continue;
                const double log_ratio = static_cast<double>(log_prob[t]) - static_cast<double>(old[t]);
                const double advantage = static_cast<double>(gain[t]);
                const double d = clamp_log_ratio(log_ratio), ratio = std::exp(d);
                const bool high = advantage > 0 && ratio > highest;
                const bool low = advantage < 0 && ratio < lowest;
                const bool dual = advantage < 0 && ratio > ceiling;
                const double bounded = high ? highest : low ? lowest : dual ? ceiling : ratio;
                double weight = row_weight[b] * advantage;
                if (!factor.empty()) weight *= static_cast<double>(factor[t]);
                stats.loss -= weight * bounded;
                if (!(high || low || dual || log_ratio_saturated(log_ratio)))
                    d_row[t] += static_cast<T>(-weight * ratio);
                stats.tokens += 1;
                stats.clipped_low += low;
                stats.clipped_high += high;
                stats.clipped_dual += dual;
                stats.ratio_max = ratio > stats.ratio_max ? ratio : stats.ratio_max;
                stats.kl_old += ratio - 1 - d;
            }
        }
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
