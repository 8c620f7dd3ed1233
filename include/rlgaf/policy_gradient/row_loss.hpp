#pragma once
#include <cmath>

#include "rlgaf/policy_gradient/token_loss.hpp"

/// What sequence-level losses share: one pass over a row's unmasked tokens, one value and slope, one pass that adds the
/// gradient. A row counts as much as its tokens would: L = sum of w_i F_i l_i with F_i the sum of token_factor over
/// them, or their number n_i. Under aggregation::sequence_mean that is the papers' mean over rows.
namespace rlgaf::inline RLGAF_ABI::detail {

template <class T>
void check_row_terms(const policy_terms<T>& terms, std::span<const double> row_weight, const ragged_view<T>& d_log_prob,
                     const char* function) {
    check_policy_terms(terms, row_weight, d_log_prob, function);
    check_same_shape(terms.log_prob, terms.advantage, function, "terms.advantage");
    check_same_shape(terms.log_prob, terms.old_log_prob, function, "terms.old_log_prob");
}

/// Sum over the row's unmasked tokens of log_prob - old_log_prob, each held within [low, high]; adds their k3 to kl.
template <class T>
RLGAF_FLATTEN double held_log_ratio(const policy_terms<T>& terms, std::size_t b, T low, T high, lane_sum& kl) {
    const auto log_prob = terms.log_prob.row(b), old_log_prob = terms.old_log_prob.row(b);
    const std::uint8_t* in = terms.mask.empty() ? nullptr : terms.mask.data(b);
    const T limit = static_cast<T>(log_ratio_limit);
    lane_sum sum;
    T apart[block_tokens], excess[block_tokens];
    for_each_block(log_prob.size(), [&](const std::size_t first, const std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) apart[i] = log_prob[first + i] - old_log_prob[first + i];
        if (in)  // 0 adds nothing to either sum
            for (std::size_t i = 0; i < n; ++i) apart[i] = in[first + i] != 0 ? apart[i] : T{0};
        for (std::size_t i = 0; i < n; ++i) {
            excess[i] = exponential_and_excess(held_within(apart[i], -limit, limit)).minus_1_minus_x;
            apart[i] = held_within(apart[i], low, high);
        }
        sum.add(apart, n);
        kl.add(excess, n);
    });
    return sum.total();
}

/// Adds g to the row's unmasked tokens.
template <class T>
void add_to_row(const ragged_view<T>& d_log_prob, const mask_view& mask, std::size_t b, double g) {
    const auto d = d_log_prob.row(b);
    const T x = static_cast<T>(g);
    if (mask.empty()) {
        for (T& v : d) v += x;
        return;
    }
    const std::uint8_t* in = mask.data(b);
    for (std::size_t i = 0; i < d.size(); ++i) d[i] = in[i] != 0 ? d[i] + x : d[i];
}

/// What a sequence-level loss reads of a row.
struct row_input {
    double tokens = 0;     ///< n_i
    double factor = 0;     ///< F_i
    double advantage = 0;  ///< A_i: mean over the row's tokens
    double log_ratio = 0;  ///< sum over them
};

/// All but log_ratio; tokens = 0 where the row has nothing to teach.
template <class T>
row_input read_row(const policy_terms<T>& terms, std::size_t b) {
    const std::size_t length = terms.log_prob.length(b);
    const std::size_t n = terms.mask.empty() ? length : count_included(terms.mask.data(b), length);
    if (n == 0) return {};
    row_input row{.tokens = static_cast<double>(n)};
    row.factor = terms.token_factor.empty() ? row.tokens : masked_row_sum(terms.token_factor, terms.mask, b);
    row.advantage = masked_row_sum(terms.advantage, terms.mask, b) / row.tokens;
    return row;
}

/// What it gives.
struct row_output {
    double loss = 0, slope = 0;  ///< slope by the log_prob of each of the row's tokens
    double ratio = 0;            ///< that the loss uses
    bool clipped_low = false, clipped_high = false;
};

/// PPO's clip of one ratio exp(x) held within exp(+-20); slope by x. Bounds of infinity clip nothing.
inline row_output clip_ratio(double x, double advantage, double clip_low, double clip_high) {
    const double ratio = std::exp(clamp_log_ratio(x));
    const bool above = advantage > 0 && ratio > 1 + clip_high, below = advantage < 0 && ratio < 1 - clip_low;
    const double kept = above ? 1 + clip_high : below ? 1 - clip_low : ratio;
    const bool flat = above || below || log_ratio_saturated(x);
    return {-advantage * kept, flat ? 0 : -advantage * ratio, ratio, below, above};
}

/// Enters a row into the stats.
inline void add_row(policy_loss_stats& stats, double row_weight, const row_input& row, const row_output& out) {
    stats.merge({.loss = row_weight * row.factor * out.loss,
                 .tokens = row.tokens,
                 .clipped_low = out.clipped_low ? row.tokens : 0,
                 .clipped_high = out.clipped_high ? row.tokens : 0,
                 .ratio_max = out.ratio});
}

/// L = sum of w_i F_i l(formula); adds the gradient; fills all stats. `formula` maps row_input to row_output.
/// NaN passes through.
template <class T, class Formula>
policy_loss_stats row_loss(const policy_terms<T>& terms, std::span<const double> row_weight,
                           const ragged_view<T>& d_log_prob, const char* function, Formula&& formula) {
    check_row_terms(terms, row_weight, d_log_prob, function);
    const T everything = std::numeric_limits<T>::infinity();
    policy_loss_stats stats;
    lane_sum kl;
    for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
        row_input row = read_row(terms, b);
        if (row.tokens == 0) continue;
        row.log_ratio = held_log_ratio(terms, b, -everything, everything, kl);
        const row_output out = formula(row);
        add_row(stats, row_weight[b], row, out);
        add_to_row(d_log_prob, terms.mask, b, row_weight[b] * row.factor * out.slope);
    }
    stats.kl_old = kl.total();
    return stats;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
