#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/math/summary.hpp"
#include "rlgaf/policy_gradient/token_factor.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How far the sampler that drew the tokens is from the policy as the trainer evaluates it: other kernels, precision,
/// truncated sampling, older parameters. NaN = nothing to measure. Rows without an unmasked token take no part.
struct sampling_mismatch {
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();
    double tokens = 0, rows = 0;
    double mean = none, max = none;                                ///< of |d|, d = old - behaviour log-prob
    double ratio_min = none, ratio_mean = none, ratio_max = none;  ///< of q = exp(d)
    double ess_fraction = none;                                    ///< of q over tokens, in (0, 1]
    double chi2_token = none;                                      ///< mean of q^2, minus 1
    double chi2_sequence = none;                                   ///< mean over rows of (product of q)^2, minus 1
    double kl_k1 = none, kl_k3 = none;                             ///< KL(behaviour || old), nats per token
    double perplexity = none, behaviour_perplexity = none;         ///< mean over rows of exp(-mean log-prob)
    double log_perplexity_difference = none;  ///< mean over rows of -mean d: positive = the trainer is less sure
    double perplexity_ratio = none;           ///< mean over rows of exp(-mean d)
};

namespace detail {

/// measure_mismatch, which calls each_block(row, first token, tokens, ratios) besides: the ratios of the unmasked ones
/// among these tokens, one behind the other.
template <class T, class F>
sampling_mismatch measure_ratios(const ragged_view<const T>& old_log_prob,
                                 const ragged_view<const T>& behaviour_log_prob, const mask_view& mask,
                                 F&& each_block) {
    const T limit = static_cast<T>(log_ratio_limit);
    lane_sum size_sum, ratio_sum, square_sum, chi2_sum, excess_sum;
    lane_int<T> farthest = 0, most = 0, least = ordered_bits(std::numeric_limits<T>::infinity());
    sampling_mismatch m;
    double chi2 = 0, perplexity = 0, behaviour_perplexity = 0, difference = 0, perplexity_ratio = 0, k1 = 0;
    T p[block_tokens], q[block_tokens];
    struct {  // in one piece: clang compares each input with it once
        T ratio[block_tokens], size[block_tokens], square[block_tokens];
        T square_minus_1[block_tokens], excess[block_tokens];
    } out;
    for (std::size_t b = 0; b < old_log_prob.rows(); ++b) {
        const auto old_row = old_log_prob.row(b), behaviour_row = behaviour_log_prob.row(b);
        const std::uint8_t* const in = mask.empty() ? nullptr : mask.data(b);
        lane_sum old_sum, behaviour_sum;
        std::size_t tokens = 0;
        for_each_block(old_row.size(), [&](const std::size_t first, const std::size_t all) {
            const T *x = old_row.data() + first, *y = behaviour_row.data() + first;
            std::size_t n = all;
            if (in) {
                n = pack_included(x, in + first, all, p), pack_included(y, in + first, all, q);
                x = p, y = q;
            }
            lane_int<T> low = least, high = most, far = farthest;
            for (std::size_t i = 0; i < n; ++i) {
                const T d = x[i] - y[i], held = held_within(d, -limit, limit), size = std::abs(d);
                const exponential_pair<T> e = exponential_and_excess(held);
                const T minus_1 = held + e.minus_1_minus_x;
                out.ratio[i] = e.value, out.excess[i] = e.minus_1_minus_x, out.size[i] = size;
                out.square[i] = e.value * e.value, out.square_minus_1[i] = minus_1 * (minus_1 + 2);
                const lane_int<T> r = ordered_bits(e.value), s = ordered_bits(size);
                high = r > high ? r : high, low = r < low ? r : low, far = s > far ? s : far;
            }
            least = low, most = high, farthest = far;
            old_sum.add(x, n), behaviour_sum.add(y, n), size_sum.add(out.size, n);
            ratio_sum.add(out.ratio, n), square_sum.add(out.square, n), chi2_sum.add(out.square_minus_1, n),
                excess_sum.add(out.excess, n);
            each_block(b, first, all, out.ratio);
            tokens += n;
        });
        if (tokens == 0) continue;
        const double n = static_cast<double>(tokens), sum = old_sum.total() - behaviour_sum.total();
        m.tokens += n, m.rows += 1;
        k1 -= sum, difference -= sum / n;
        chi2 += std::expm1(2 * clamp_log_ratio(sum));
        perplexity += std::exp(-old_sum.total() / n), behaviour_perplexity += std::exp(-behaviour_sum.total() / n);
        perplexity_ratio += std::exp(clamp_log_ratio(-sum / n));
    }
    if (m.tokens == 0) return m;
    m.mean = size_sum.total() / m.tokens, m.max = static_cast<double>(__builtin_bit_cast(T, farthest));
    m.ratio_min = static_cast<double>(__builtin_bit_cast(T, least));
    m.ratio_max = static_cast<double>(__builtin_bit_cast(T, most));
    m.chi2_token = chi2_sum.total() / m.tokens;
    const double ratios = ratio_sum.total(), squares = square_sum.total();  // without the cancellation of 1 + (r - 1)
    m.ratio_mean = ratios / m.tokens, m.ess_fraction = ratios * ratios / (m.tokens * squares);
    m.kl_k1 = k1 / m.tokens, m.kl_k3 = excess_sum.total() / m.tokens;
    m.chi2_sequence = chi2 / m.rows, m.perplexity = perplexity / m.rows;
    m.behaviour_perplexity = behaviour_perplexity / m.rows, m.perplexity_ratio = perplexity_ratio / m.rows;
    m.log_perplexity_difference = difference / m.rows;
    return m;
}

}  // namespace detail

/// Shapes: [B, length]. Units: nats. Every log-ratio, sums over rows included, is held within +-20 before exp.
/// NaN shows. Errors: shape_error. No allocation, one pass.
/// Source: the rollout-correction metrics of verl (which clamps q to [1 / C, C] for the effective sample size, and counts
///         rows without a token with ratio 1).
template <class T>
sampling_mismatch measure_mismatch(const ragged_view<const T>& old_log_prob,
                                   const ragged_view<const T>& behaviour_log_prob, const mask_view& mask) {
    detail::check_same_shape(old_log_prob, behaviour_log_prob, "measure_mismatch", "behaviour_log_prob");
    detail::check_same_shape_if_given(old_log_prob, mask, "measure_mismatch", "mask");
    return detail::measure_ratios(old_log_prob, behaviour_log_prob, mask, [](auto&&...) {});
}

}  // namespace rlgaf::inline RLGAF_ABI
