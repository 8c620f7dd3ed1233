#pragma once
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

/// Shapes: [B, length]. Units: nats. Every log-ratio, sums over rows included, is held within +-20 before exp.
/// Errors: shape_error. No allocation.
/// Source: the rollout-correction metrics of verl (which clamps q to [1 / C, C] for the effective sample size, and counts
///         rows without a token with ratio 1).
template <class T>
sampling_mismatch measure_mismatch(const ragged_view<const T>& old_log_prob,
                                   const ragged_view<const T>& behaviour_log_prob, const mask_view& mask) {
    detail::check_same_shape(old_log_prob, behaviour_log_prob, "measure_mismatch", "behaviour_log_prob");
    detail::check_same_shape_if_given(old_log_prob, mask, "measure_mismatch", "mask");
    const auto difference = [&](std::size_t b, std::size_t t) {
        return static_cast<double>(old_log_prob.row(b)[t]) - static_cast<double>(behaviour_log_prob.row(b)[t]);
    };
    sampling_mismatch m;
    const summary ratio = token_summary(
        old_log_prob, mask, [&](std::size_t b, std::size_t t) { return std::exp(clamp_log_ratio(difference(b, t))); });
    if (ratio.count == 0) return m;
    m.tokens = ratio.count;
    m.ratio_min = ratio.min, m.ratio_mean = ratio.mean, m.ratio_max = ratio.max;
    m.ess_fraction = ess_fraction(ratio);
    m.mean = m.max = m.chi2_token = m.kl_k1 = m.kl_k3 = 0;
    for_each_token(old_log_prob, mask, [&](std::size_t b, std::size_t t) {
        const double d = difference(b, t), held = clamp_log_ratio(d);
        m.mean += std::abs(d);
        m.max = std::fmax(m.max, std::abs(d));
        m.chi2_token += std::expm1(2 * held);
        m.kl_k1 -= d;
        m.kl_k3 += expm1_minus_x(held);
    });
    for (double* x : {&m.mean, &m.chi2_token, &m.kl_k1, &m.kl_k3}) *x /= m.tokens;
    m.chi2_sequence = m.perplexity = m.behaviour_perplexity = m.log_perplexity_difference = m.perplexity_ratio = 0;
    for (std::size_t b = 0; b < old_log_prob.rows(); ++b) {
        const detail::row_log_ratio d = detail::sum_log_ratio(old_log_prob, behaviour_log_prob, mask, b);
        if (d.tokens == 0) continue;
        m.rows += 1;
        m.chi2_sequence += std::expm1(2 * clamp_log_ratio(d.sum));
        m.perplexity += std::exp(-masked_row_sum(old_log_prob, mask, b) / d.tokens);
        m.behaviour_perplexity += std::exp(-masked_row_sum(behaviour_log_prob, mask, b) / d.tokens);
        m.log_perplexity_difference -= d.mean();
        m.perplexity_ratio += std::exp(clamp_log_ratio(-d.mean()));
    }
    for (double* x :
         {&m.chi2_sequence, &m.perplexity, &m.behaviour_perplexity, &m.log_perplexity_difference, &m.perplexity_ratio})
        *x /= m.rows;
    return m;
}

}  // namespace rlgaf::inline RLGAF_ABI
