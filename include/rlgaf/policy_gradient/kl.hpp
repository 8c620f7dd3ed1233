#pragma once
#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Sums, so that the parts of a step add up.
struct regularizer_stats {
    double loss = 0;    ///< the weighted sum
    double value = 0;   ///< plain sum over unmasked tokens of what is regularised, nats
    double tokens = 0;  ///< unmasked ones

    void merge(const regularizer_stats& other) { loss += other.loss, value += other.value, tokens += other.tokens; }
};

/// KL to the reference policy as a term of the loss.
/// Formula: L = beta sum of w_i kl(log_prob_it, reference_log_prob_it) over unmasked tokens. With importance_weighted:
///          r kl instead, r = exp(log_prob - old_log_prob), which makes k3 unbiased for samples of an older policy too.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += beta w dkl/dlog_prob; with importance_weighted, beta w r (log_prob - reference_log_prob),
///          which at r = 1 is k2's. token_factor does not touch it.
/// Units:   nats. The log-ratio to old_log_prob is held within +-20; outside, the term has no gradient.
/// At kinks: with importance_weighted, k3's value is held beyond a log-ratio of 20 to the reference, its gradient is not.
/// Errors:  shape_error; option_error.
/// Needs:   k2 or k3 to learn from: k1's gradient as a loss is noise around 0 (kl_penalty puts it in the reward).
/// Source:  Shao et al. 2024, arXiv 2402.03300, equation 4 (k3); Liu et al. 2025, arXiv 2510.01555 (why k2);
///          importance_weighted: DeepSeek-AI 2025, arXiv 2512.02556 (TRL: use_bias_correction_kl).
struct kl_loss {
    using role = role::policy_regularizer;
    static constexpr bool needs_reference = true;
    static constexpr bool row_separable = true;
    double beta = 0.001;  ///< finite, >= 0
    kl_estimator estimator = kl_estimator::k2;
    bool importance_weighted = false;  ///< only with k3; needs terms.old_log_prob

    void check() const {
        detail::check_option(beta >= 0 && beta < std::numeric_limits<double>::infinity(), "kl_loss", "beta",
                             "finite, 0 or positive", beta);
        detail::check_option(!importance_weighted || estimator == kl_estimator::k3, "kl_loss", "importance_weighted",
                             "false unless .estimator is kl_estimator::k3", importance_weighted);
    }

    template <class T>
    regularizer_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "kl_loss");
        detail::check_same_shape(terms.log_prob, terms.reference_log_prob, "kl_loss", "terms.reference_log_prob");
        if (importance_weighted)
            detail::check_same_shape(terms.log_prob, terms.old_log_prob, "kl_loss", "terms.old_log_prob");
        const T scale = static_cast<T>(beta);
        const auto finish = [](const detail::token_sums<2>& sums) {
            return regularizer_stats{.loss = sums.sum[0], .value = sums.sum[1], .tokens = sums.tokens};
        };
        return with_kl_estimator(estimator, [&](auto&& kl) {
            if (!importance_weighted)
                return finish(detail::map_tokens<2>(
                    d_log_prob, terms.mask, row_weight,
                    [scale, kl](T w, T log_prob, T reference) {
                        const kl_term<T> x = kl(reference - log_prob);
                        return detail::token_term<2, T>{scale * w * x.d_log_prob, {scale * w * x.value, x.value}};
                    },
                    terms.log_prob, terms.reference_log_prob));
            const T limit = static_cast<T>(log_ratio_limit);
            return finish(detail::map_tokens<2>(
                d_log_prob, terms.mask, row_weight,
                [scale, kl, limit](T w, T log_prob, T reference, T old) {
                    const T apart = log_prob - old, held = detail::held_within(apart, -limit, limit);
                    const T alive = detail::choose(held == apart, T{1}, T{0});
                    const T ratio = exponential(held), value = ratio * kl(reference - log_prob).value;
                    // exp(d) exp(u) does not move with log_prob: what is left of the derivative is -exp(d) u
                    return detail::token_term<2, T>{scale * w * alive * ratio * (log_prob - reference),
                                                    {scale * w * value, value}};
                },
                terms.log_prob, terms.reference_log_prob, terms.old_log_prob));
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
