#pragma once
#include "rlgaf/policy_gradient/row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// LUSPO: GSPO with every row's loss times its length, so that a token of a long row weighs as much as one of a short.
/// Formula: as gspo, with n_i l_i in place of l_i. Under aggregation::sequence_mean the mean over rows of n_i l_i, the
///          same as gspo under aggregation::sequence_sum.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w F A s on the row's unmasked tokens, 0 where it is clipped. Constants: all but log_prob.
/// Units:   nats. The mean log-ratio is held within +-20, without a gradient outside.
/// Stats:   clips count the row's tokens; ratio_max is of s.
/// At kinks: s equal to a bound counts as not clipped.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   aggregation::sequence_mean, or lengths weigh twice; old_log_prob at the temperature of log_prob.
/// Source:  Liu et al. 2026, arXiv 2602.05261.
struct luspo {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 2e-3;     ///< in [0, 1)
    double clip_high = 2.5e-3;  ///< >= 0

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "luspo", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "luspo", "clip_high", "0 or positive", clip_high);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        return detail::row_loss(terms, row_weight, d_log_prob, "luspo", [&](const detail::row_input& row) {
            detail::row_output out = detail::clip_ratio(row.log_ratio / row.tokens, row.advantage, clip_low, clip_high);
            out.loss *= row.tokens;  // slope: times n by the length, over n by the mean
            return out;
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
