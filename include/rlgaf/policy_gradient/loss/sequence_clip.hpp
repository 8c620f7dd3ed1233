#pragma once
#include "rlgaf/policy_gradient/row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// PPO's clip on the ratio of the whole row, without a mean over its length: what TRL's RLOO trainer minimises.
/// Formula: s_i = exp(sum over the row's n_i unmasked tokens of log_prob - old_log_prob);  A_i = their mean advantage;
///          L = sum of w_i F_i l_i,  F_i = sum of token_factor (n_i without),
///          A_i >= 0: l_i = -A_i min(s_i, 1 + clip_high);   A_i < 0: l_i = -A_i max(s_i, 1 - clip_low).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w F A s on the row's unmasked tokens, 0 where it is clipped. Constants: all but log_prob.
/// Units:   nats. The summed log-ratio is held within +-20 (TRL: not), without a gradient outside. In a row of 500
///          tokens a drift of 0.0004 nats a token already clips.
/// Stats:   clips count the row's tokens; ratio_max is of s.
/// At kinks: s equal to a bound counts as not clipped.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   aggregation::sequence_mean for TRL's mean over rows; old_log_prob at the temperature of log_prob.
/// Source:  Schulman et al. 2017, arXiv 1707.06347, equation 7, with the sequence as the action: Ahmadian et al. 2024,
///          arXiv 2402.14740.
struct sequence_clip {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 0.2;   ///< in [0, 1)
    double clip_high = 0.2;  ///< >= 0

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "sequence_clip", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "sequence_clip", "clip_high", "0 or positive", clip_high);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        return detail::row_loss(terms, row_weight, d_log_prob, "sequence_clip", [&](const detail::row_input& row) {
            return detail::clip_ratio(row.log_ratio, row.advantage, clip_low, clip_high);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
