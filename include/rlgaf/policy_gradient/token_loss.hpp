#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/core/token_map.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

/// The loop that token-level policy losses share: map_tokens with ratios, factors and counts of clips.
namespace rlgaf::inline RLGAF_ABI::detail {

/// What the formula of a token-level loss reads.
template <class T>
struct token_input {
    T log_prob;
    T log_ratio;  ///< log_prob - old_log_prob within +-20, or 0 without old_log_prob
    T ratio;      ///< its exponential
    T alive;      ///< 1, or 0 where log_ratio is held at its limit: there the ratio has no slope
    T advantage;
};

/// What it gives: loss = -advantage * value, d_log_prob = -advantage * slope, both times the token's weight.
template <class T>
struct token_output {
    T value, slope;
    T clips = 0;  ///< see clip_code
};

/// Which clips took the token's gradient, 0 or 1 each, in one number: those of a block add up without overlap.
template <class T>
T clip_code(T low, T high, T dual) noexcept {
    return low + 256 * high + 65536 * dual;
}

/// One row's views, with pointers instead of spans: the block loop keeps them in registers.
template <class T>
struct row_pointers {
    const T *log_prob, *old_log_prob, *advantage;
};

/// L = sum of w_i f_it l(formula) over unmasked tokens; adds the gradient; fills all stats. `formula` maps
/// token_input<T> to token_output<T> by arithmetic and comparisons that are used once; masked tokens go through it with
/// ratio 1 and advantage 0, where clips must be 0. Without WithRatio old_log_prob is not
/// read.
/// NaN passes through.
template <bool WithRatio, class T, class Formula>
RLGAF_FLATTEN policy_loss_stats token_loss(const policy_terms<T>& terms, std::span<const double> row_weight,
                                           const ragged_view<T>& d_log_prob, const char* function, Formula&& formula) {
    check_policy_terms(terms, row_weight, d_log_prob, function);
    check_same_shape(terms.log_prob, terms.advantage, function, "terms.advantage");
    if (WithRatio) check_same_shape(terms.log_prob, terms.old_log_prob, function, "terms.old_log_prob");
    using count = lane_int<T>;
    const T limit = static_cast<T>(log_ratio_limit);
    policy_loss_stats stats;
    lane_sum loss, kl;
    count most = 0;           // the bits of the largest ratio: positive numbers are ordered like their bits
    T read[5][block_tokens];  // in one piece, as what is written below, so that clang compares few addresses
    T *const weight = read[0], *const taken = read[1];
    T *const log_prob_copy = read[2], *const old_copy = read[3], *const advantage_copy = read[4];
    for (T& v : read[1]) v = 1;
    for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
        const auto d_row = d_log_prob.row(b);
        const std::uint8_t* mask = terms.mask.empty() ? nullptr : terms.mask.data(b);
        const T* factor = terms.token_factor.empty() ? nullptr : terms.token_factor.data(b);
        row_pointers<T> row{terms.log_prob.data(b), nullptr, terms.advantage.data(b)};
        if (WithRatio) row.old_log_prob = terms.old_log_prob.data(b);
        const T w = static_cast<T>(row_weight[b]);
        if (!factor)
            for (T& v : read[0]) v = w;
        for_each_block(d_row.size(), [&](const std::size_t first, const std::size_t n) {
            row_pointers<T> x = row;
            x.log_prob += first, x.advantage += first;
            if (WithRatio) x.old_log_prob += first;
            if (factor)
                for (std::size_t i = 0; i < n; ++i) weight[i] = w * factor[first + i];
            if (mask) {  // what is masked becomes a harmless number that weighs nothing
                for (std::size_t i = 0; i < n; ++i) {
                    const bool in = mask[first + i] != 0;
                    taken[i] = in ? T{1} : T{0};
                    weight[i] = in ? (factor ? weight[i] : w) : T{0};
                    log_prob_copy[i] = in ? x.log_prob[i] : T{0};
                    advantage_copy[i] = in ? x.advantage[i] : T{0};
                    if (WithRatio) old_copy[i] = in ? x.old_log_prob[i] : T{0};
                }
                x = {log_prob_copy, old_copy, advantage_copy};
            }
            T written[3][block_tokens];
            T *const value = written[0], *const slope = written[1], *const excess = written[2];
            count clips = 0;
            for (std::size_t i = 0; i < n; ++i) {
                token_input<T> in{
                    .log_prob = x.log_prob[i], .log_ratio = 0, .ratio = 1, .alive = 1, .advantage = x.advantage[i]};
                if constexpr (WithRatio) {
                    const T apart = x.log_prob[i] - x.old_log_prob[i];
                    in.log_ratio = held_within(apart, -limit, limit);
                    in.alive = choose(in.log_ratio == apart, T{1}, T{0});
                    const exponential_pair<T> e = exponential_and_excess(in.log_ratio);
                    in.ratio = e.value;
                    excess[i] = e.minus_1_minus_x;
                    const count bits = __builtin_bit_cast(count, T(e.value * taken[i]));
                    most = bits > most ? bits : most;
                }
                const token_output<T> out = formula(in);
                const T gain = weight[i] * in.advantage;
                value[i] = -gain * out.value;
                slope[i] = -gain * out.slope;
                clips += static_cast<count>(out.clips);
            }
            T* d = d_row.data() + first;
            if (mask)
                for (std::size_t i = 0; i < n; ++i) d[i] = choose(taken[i] != 0, d[i] + slope[i], d[i]);
            else
                for (std::size_t i = 0; i < n; ++i) d[i] += slope[i];
            loss.add(value, n);
            if (WithRatio) kl.add(excess, n);
            stats.clipped_low += static_cast<double>(clips % 256);
            stats.clipped_high += static_cast<double>(clips / 256 % 256);
            stats.clipped_dual += static_cast<double>(clips / 65536);
            stats.tokens += static_cast<double>(mask ? count_included(mask + first, n) : n);
        });
    }
    stats.loss = loss.total();
    stats.kl_old = kl.total();
    if (WithRatio) stats.ratio_max = static_cast<double>(__builtin_bit_cast(T, most));
    return stats;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
