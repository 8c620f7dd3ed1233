#pragma once
#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/policy_gradient/advantage/center.hpp"
#include "rlgaf/policy_gradient/mismatch.hpp"
#include "rlgaf/policy_gradient/step_metrics.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The arrays of one optimiser step, over all its rows: [B, length] of the same shape, or not given.
template <class T>
struct step_arrays {
    ragged_view<const T> log_prob;              ///< of the policy now; the only one that must be given
    ragged_view<const T> old_log_prob{};        ///< of the policy that sampled, evaluated by the trainer
    ragged_view<const T> behaviour_log_prob{};  ///< as the sampler reported it
    ragged_view<const T> reference_log_prob{};
    ragged_view<const T> advantage{};
    ragged_view<const T> entropy{};
    ragged_view<const T> value{}, old_value{}, returns{};
    ragged_view<const T> score_norm{};  ///< squared norm of each token's score function
    mask_view mask{};
    reward_view<T> reward{};
    groups group{};                             ///< needed with reward
    std::span<const std::uint8_t> truncated{};  ///< [B] non-zero = the row was cut off
    double grad_norm = step_metrics::none;      ///< step_report::grad_norm
};

namespace detail {

/// Calls f(row, unmasked tokens) for the rows that have one.
template <class T, class F>
void for_each_filled_row(const step_arrays<T>& x, F&& f) {
    for (std::size_t b = 0; b < x.log_prob.rows(); ++b) {
        double tokens = 0;
        const included_tokens included(x.mask, b);
        for (std::size_t t = 0; t < x.log_prob.length(b); ++t) tokens += included[t];
        if (tokens > 0) f(b, tokens);
    }
}

/// Estimate of KL(p || q) per token, from tokens of p.
template <class T>
double mean_kl(const ragged_view<const T>& p, const ragged_view<const T>& q, const mask_view& mask,
               kl_estimator estimator) {
    const auto kl = [&](std::size_t b, std::size_t t) {
        return estimate_kl(estimator, static_cast<double>(p.row(b)[t]), static_cast<double>(q.row(b)[t])).value;
    };
    return token_summary(p, mask, kl).mean;
}

template <class T>
void measure_sampler(const step_arrays<T>& x, step_metrics& m) {
    const sampling_mismatch s = measure_mismatch(x.old_log_prob, x.behaviour_log_prob, x.mask);
    m.sampler_difference_mean = s.mean, m.sampler_difference_max = s.max;
    m.sampler_ratio_min = s.ratio_min, m.sampler_ratio_mean = s.ratio_mean, m.sampler_ratio_max = s.ratio_max;
    m.sampler_ess_fraction = s.ess_fraction;
    m.sampler_chi2_token = s.chi2_token, m.sampler_chi2_sequence = s.chi2_sequence;
    m.sampler_kl_k1 = s.kl_k1, m.sampler_kl_k3 = s.kl_k3;
    m.perplexity = s.perplexity, m.sampler_perplexity = s.behaviour_perplexity;
    m.log_perplexity_difference = s.log_perplexity_difference, m.perplexity_ratio = s.perplexity_ratio;
}

template <class T>
void measure_rewards(const step_arrays<T>& x, workspace& work, step_metrics& m) {
    const advantage_terms<T> terms{.reward = x.reward, .group = x.group, .mask = x.mask};
    check_advantage_terms(terms, x.log_prob, "diagnostics");
    center_rewards(terms, x.log_prob.rows(), false, work);
    const moments reward = moments_of(span_of(work.c));
    if (reward.count == 0) return;
    m.reward_mean = reward.mean, m.reward_deviation = reward.deviation();
    std::vector<double>&squares = work.d, &count = work.e;
    squares.assign(x.group.count, 0.0);
    count.assign(x.group.count, 0.0);
    for (std::size_t i = 0; i < work.a.size(); ++i) {
        if (is_nan(&work.a[i])) continue;
        squares[x.group.id[i]] += work.a[i] * work.a[i];
        count[x.group.id[i]] += 1;
    }
    double constant = 0;
    for (std::size_t g = 0; g < x.group.count; ++g)
        if (count[g] < 2 || is_constant(std::sqrt(squares[g] / (count[g] - 1)), work.b[g])) constant += count[g];
    m.constant_row_share = constant / reward.count;
}

template <class T>
void measure_lengths(const step_arrays<T>& x, step_metrics& m) {
    const std::size_t rows = x.log_prob.rows();
    if (!x.truncated.empty()) check_size(x.truncated.size(), rows, "diagnostics", "truncated");
    if (rows == 0) return;
    const auto lengths = [&](bool all) {
        return summary_of([&](auto&& add) {
            for (std::size_t b = 0; b < rows; ++b)
                if (all || !x.truncated[b]) add(static_cast<double>(x.log_prob.length(b)));
        });
    };
    const summary every = lengths(true);
    m.length_mean = every.mean, m.length_min = every.min, m.length_max = every.max;
    if (x.truncated.empty()) return;
    const summary terminated = lengths(false);
    m.truncated_share = 1 - terminated.count / every.count;
    if (terminated.count == 0) return;
    m.terminated_length_mean = terminated.mean;
    m.terminated_length_min = terminated.min, m.terminated_length_max = terminated.max;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
