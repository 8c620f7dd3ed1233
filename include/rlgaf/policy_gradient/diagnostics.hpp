#pragma once
#include "rlgaf/policy_gradient/step_arrays.hpp"
#include "rlgaf/policy_gradient/value.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Every metric of step_metrics that the given arrays allow.
/// Units:   nats. Ratios are held within exp(+-20), differences of log-probs are not.
/// At kinks: a ratio equal to a bound is not clipped, as in the losses.
/// Errors:  shape_error; option_error. No allocation in steady state; the workspace is overwritten.
/// Source:  the metrics of TRL, verl, OpenRLHF and cleanrl; step_metrics says which. Unlike some of them, no mean is
///          diluted by padding, and means over rows leave out rows without an unmasked token.
struct diagnostics {
    double clip_low = 0.2;    ///< in [0, 1): that of the policy loss
    double clip_high = 0.28;  ///< >= 0: likewise
    double dual_clip = 3;     ///< > 1, or 0: off: likewise
    double value_clip = 0.2;  ///< > 0: that of value_loss

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "diagnostics", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "diagnostics", "clip_high", "0 or positive", clip_high);
        detail::check_option(dual_clip == 0 || dual_clip > 1, "diagnostics", "dual_clip", "above 1, or 0 for off",
                             dual_clip);
        detail::check_option(value_clip > 0, "diagnostics", "value_clip", "positive", value_clip);
    }

    template <class T>
    step_metrics operator()(const step_arrays<T>& x, workspace& work) const {
        check();
        const auto check_given = [&](const auto& array, const char* name) {
            detail::check_same_shape_if_given(x.log_prob, array, "diagnostics", name);
        };
        check_given(x.old_log_prob, "old_log_prob"), check_given(x.behaviour_log_prob, "behaviour_log_prob");
        check_given(x.reference_log_prob, "reference_log_prob"), check_given(x.advantage, "advantage");
        check_given(x.entropy, "entropy"), check_given(x.value, "value"), check_given(x.old_value, "old_value");
        check_given(x.returns, "returns"), check_given(x.score_norm, "score_norm"), check_given(x.mask, "mask");
        step_metrics m{.grad_norm = x.grad_norm, .signal = x.grad_norm * x.grad_norm};
        detail::for_each_filled_row(x, [&](std::size_t, double tokens) { m.tokens += tokens, m.rows += 1; });
        detail::measure_lengths(x, m);
        if (!x.reward.outcome.empty() || !x.reward.token.empty()) detail::measure_rewards(x, work, m);
        if (m.tokens == 0) return m;
        if (!x.old_log_prob.empty()) measure_ratio(x, m);
        if (!x.old_log_prob.empty() && !x.behaviour_log_prob.empty()) detail::measure_sampler(x, m);
        if (!x.entropy.empty()) m.entropy = token_summary(x.entropy, x.mask).mean;
        if (!x.reference_log_prob.empty()) {
            m.kl_reference_per_token = detail::mean_kl(x.log_prob, x.reference_log_prob, x.mask, kl_estimator::k1);
            m.kl_reference_per_row = m.kl_reference_per_token * m.tokens / m.rows;
            m.kl_reference_k3 = detail::mean_kl(x.log_prob, x.reference_log_prob, x.mask, kl_estimator::k3);
        }
        if (!x.advantage.empty()) {
            const summary a = token_summary(x.advantage, x.mask);
            m.advantage_mean = a.mean, m.advantage_deviation = a.deviation();
            m.advantage_min = a.min, m.advantage_max = a.max;
        }
        measure_values(x, m);
        if (!x.advantage.empty() && !x.score_norm.empty()) {
            m.variance_proxy = 0;
            detail::for_each_filled_row(x, [&](std::size_t b, double tokens) {
                const double a = masked_row_sum(x.advantage, x.mask, b) / tokens;
                m.variance_proxy += a * a * masked_row_sum(x.score_norm, x.mask, b) / m.rows;
            });
        }
        return m;
    }

private:
    template <class T>
    void measure_ratio(const step_arrays<T>& x, step_metrics& m) const {
        m.kl_old_k1 = detail::mean_kl(x.old_log_prob, x.log_prob, x.mask, kl_estimator::k1);
        m.kl_old_k2 = detail::mean_kl(x.old_log_prob, x.log_prob, x.mask, kl_estimator::k2);
        m.kl_old_k3 = detail::mean_kl(x.old_log_prob, x.log_prob, x.mask, kl_estimator::k3);
        m.entropy_sampled_per_row = -token_summary(x.old_log_prob, x.mask).mean * m.tokens / m.rows;
        const auto ratio_of = [&](std::size_t b, std::size_t t) {
            return std::exp(clamp_log_ratio(static_cast<double>(x.log_prob.row(b)[t]) -
                                            static_cast<double>(x.old_log_prob.row(b)[t])));
        };
        const summary ratio = token_summary(x.log_prob, x.mask, ratio_of);
        m.ratio_mean = ratio.mean, m.ratio_variance = ratio.variance(), m.ratio_max = ratio.max;
        double low = 0, high = 0, dual = 0, any = 0;
        detail::for_each_filled_row(x, [&](std::size_t b, double tokens) {
            double row_low = 0, row_high = 0;
            const included_tokens included(x.mask, b);
            for (std::size_t t = 0; t < x.log_prob.length(b); ++t) {
                if (!included[t]) continue;
                const double r = ratio_of(b, t);
                const bool below = r < 1 - clip_low;
                const bool above = r > 1 + clip_high;
                const double a = x.advantage.empty() ? 0 : static_cast<double>(x.advantage.row(b)[t]);
                any += below || above;
                row_low += below && a < 0;
                row_high += above && a > 0;
                dual += dual_clip > 0 && r > dual_clip && a < 0;
            }
            low += row_low, high += row_high;
            m.clip_fraction_low_row_min = std::fmin(m.clip_fraction_low_row_min, row_low / tokens);
            m.clip_fraction_high_row_max = std::fmax(m.clip_fraction_high_row_max, row_high / tokens);
        });
        m.clip_fraction_any_sign = any / m.tokens;
        if (x.advantage.empty()) {
            m.clip_fraction_low_row_min = m.clip_fraction_high_row_max = step_metrics::none;
            return;
        }
        m.clip_fraction = (low + high) / m.tokens, m.clip_fraction_dual = dual / m.tokens;
        m.clip_fraction_low = low / m.tokens, m.clip_fraction_high = high / m.tokens;
    }

    template <class T>
    void measure_values(const step_arrays<T>& x, step_metrics& m) const {
        const auto range = [&](const ragged_view<const T>& array, double& mean, double& min, double& max) {
            if (array.empty()) return;
            const summary s = token_summary(array, x.mask);
            mean = s.mean, min = s.min, max = s.max;
        };
        range(x.returns, m.return_mean, m.return_min, m.return_max);
        range(x.value, m.value_mean, m.value_min, m.value_max);
        if (x.returns.empty() || x.value.empty()) return;
        const auto error = [&](std::size_t b, std::size_t t) {
            return static_cast<double>(x.returns.row(b)[t]) - static_cast<double>(x.value.row(b)[t]);
        };
        m.explained_variance =
            explained_variance(token_summary(x.returns, x.mask), token_summary(x.value, x.mask, error));
        if (x.old_value.empty()) return;
        m.value_clip_fraction =
            token_summary(x.value, x.mask, [&](std::size_t b, std::size_t t) {
                const double e = error(b, t),
                             far = detail::clipped_error(static_cast<double>(x.value.row(b)[t]),
                                                         static_cast<double>(x.old_value.row(b)[t]),
                                                         static_cast<double>(x.returns.row(b)[t]), value_clip);
                return far * far > e * e ? 1.0 : 0.0;
            }).mean;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
