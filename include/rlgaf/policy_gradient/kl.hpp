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
/// Formula: L = beta sum of w_i kl(log_prob_it, reference_log_prob_it) over unmasked tokens.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += beta w dkl/dlog_prob. token_factor does not touch it.
/// Units:   nats.
/// Errors:  shape_error; option_error.
/// Needs:   k2 or k3 to learn from: k1's gradient as a loss is noise around 0 (kl_penalty puts it in the reward).
/// Source:  Shao et al. 2024, arXiv 2402.03300, equation 4 (k3); Liu et al. 2025, arXiv 2510.01555 (why k2).
struct kl_loss {
    using role = role::policy_regularizer;
    static constexpr bool needs_reference = true;
    double beta = 0.001;  ///< >= 0
    kl_estimator estimator = kl_estimator::k2;

    void check() const { detail::check_option(beta >= 0, "kl_loss", "beta", "0 or positive", beta); }

    template <class T>
    regularizer_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "kl_loss");
        detail::check_same_shape(terms.log_prob, terms.reference_log_prob, "kl_loss", "terms.reference_log_prob");
        regularizer_stats stats;
        for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
            const auto log_prob = terms.log_prob.row(b), reference = terms.reference_log_prob.row(b);
            const auto d_row = d_log_prob.row(b);
            const included_tokens included(terms.mask, b);
            const double weight = beta * row_weight[b];
            for (std::size_t t = 0; t < log_prob.size(); ++t) {
                if (!included[t]) continue;
                const kl_term kl =
                    estimate_kl(estimator, static_cast<double>(log_prob[t]), static_cast<double>(reference[t]));
                stats.loss += weight * kl.value;
                stats.value += kl.value;
                stats.tokens += 1;
                d_row[t] += static_cast<T>(weight * kl.d_log_prob);
            }
        }
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
