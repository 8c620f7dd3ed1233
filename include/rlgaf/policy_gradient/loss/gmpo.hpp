#pragma once
#include "rlgaf/policy_gradient/row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Adds g to the row's unmasked tokens whose log-ratio is within [low, high]; returns their number.
template <class T>
RLGAF_FLATTEN double add_between(const policy_terms<T>& terms, std::size_t b, T low, T high, T g,
                                 const ragged_view<T>& d_log_prob) {
    const auto log_prob = terms.log_prob.row(b), old_log_prob = terms.old_log_prob.row(b);
    const std::uint8_t* in = terms.mask.empty() ? nullptr : terms.mask.data(b);
    T* d = d_log_prob.data(b);
    T kept[block_tokens];
    lane_sum count;
    for_each_block(log_prob.size(), [&](const std::size_t first, const std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            const T apart = log_prob[first + i] - old_log_prob[first + i];
            kept[i] = choose(apart < low, T{0}, T{1}) * choose(apart > high, T{0}, T{1});
        }
        if (in)
            for (std::size_t i = 0; i < n; ++i) kept[i] = in[first + i] != 0 ? kept[i] : T{0};
        for (std::size_t i = 0; i < n; ++i) d[first + i] = choose(kept[i] != 0, d[first + i] + g, d[first + i]);
        count.add(kept, n);
    });
    return count.total();
}

}  // namespace detail

/// GMPO: the geometric mean of a row's ratios, each clipped by itself, in log space and on one side only.
/// Formula: d_t = log_prob - old_log_prob;  A_i = mean advantage of the row's n_i unmasked tokens;
///          c_t = min(d_t, clip_high) if A_i > 0, max(d_t, -clip_low) if A_i < 0;  s_i = exp(mean of c_t);
///          L = -sum of w_i F_i A_i s_i,  F_i = sum of token_factor (n_i without).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w F A s / n on the row's unmasked tokens, 0 on those that are clipped. Constants: all but
///          log_prob.
/// Units:   nats. The mean of c_t is held within +-20 (peers: not), without a gradient outside.
/// Stats:   clips count the clipped tokens; ratio_max is of s.
/// At kinks: d_t equal to a bound counts as not clipped. A_i = 0: loss and gradient 0.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   aggregation::sequence_mean for the mean over rows (verl counts empty rows in it, sequence_mean does not).
///          The sign that clips is A_i's (verl: each token's); old_log_prob at the temperature of log_prob.
/// Source:  Zhao et al. 2025, arXiv 2507.20673.
struct gmpo {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 0.4;   ///< nats, >= 0 (verl: 0.2)
    double clip_high = 0.4;  ///< nats, >= 0 (verl: 0.2)

    void check() const {
        detail::check_option(clip_low >= 0, "gmpo", "clip_low", "0 or positive nats", clip_low);
        detail::check_option(clip_high >= 0, "gmpo", "clip_high", "0 or positive nats", clip_high);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        detail::check_row_terms(terms, row_weight, d_log_prob, "gmpo");
        const double everything = std::numeric_limits<double>::infinity();
        policy_loss_stats stats;
        detail::lane_sum kl;
        for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
            detail::row_input row = detail::read_row(terms, b);
            if (row.tokens == 0) continue;
            const T low = static_cast<T>(row.advantage < 0 ? -clip_low : -everything);
            const T high = static_cast<T>(row.advantage > 0 ? clip_high : everything);
            row.log_ratio = detail::held_log_ratio(terms, b, low, high, kl);
            const detail::row_output out =
                detail::clip_ratio(row.log_ratio / row.tokens, row.advantage, everything, everything);
            const double slope = row_weight[b] * row.factor * out.slope / row.tokens;
            const double clipped =
                row.tokens - detail::add_between(terms, b, low, high, static_cast<T>(slope), d_log_prob);
            detail::add_row(stats, row_weight[b], row, out);
            (row.advantage > 0 ? stats.clipped_high : stats.clipped_low) += clipped;
        }
        stats.kl_old = kl.total();
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
