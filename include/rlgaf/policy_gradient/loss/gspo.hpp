#pragma once
#include "rlgaf/policy_gradient/row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// GSPO: PPO's clip on the geometric mean of a row's ratios, one decision a row.
/// Formula: s_i = exp(mean over the row's n_i unmasked tokens of log_prob - old_log_prob);  A_i = their mean advantage;
///          L = sum of w_i F_i l_i,  F_i = sum of token_factor (n_i without),
///          A_i >= 0: l_i = -A_i min(s_i, 1 + clip_high);   A_i < 0: l_i = -A_i max(s_i, 1 - clip_low).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w F A s / n on the row's unmasked tokens, 0 where it is clipped. Constants: all but
///          log_prob.
/// Units:   nats. The mean log-ratio is held within +-20 (verl: at most 10, TRL: not), without a gradient outside.
/// Stats:   clips count the row's tokens; ratio_max is of s.
/// At kinks: s equal to a bound counts as not clipped.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   aggregation::sequence_mean for the paper's mean over rows; old_log_prob at the temperature of log_prob.
/// Source:  Zheng et al. 2025, arXiv 2507.18071, equations 5 and 7.
struct gspo {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 3e-4;   ///< in [0, 1)
    double clip_high = 4e-4;  ///< >= 0

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "gspo", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "gspo", "clip_high", "0 or positive", clip_high);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        return detail::row_loss(terms, row_weight, d_log_prob, "gspo", [&](const detail::row_input& row) {
            detail::row_output out = detail::clip_ratio(row.log_ratio / row.tokens, row.advantage, clip_low, clip_high);
            out.slope /= row.tokens;
            return out;
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
