#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The plain policy gradient (REINFORCE): raises the log-prob of what did better than the baseline.
/// Formula: L = -sum of w_i f_it A_it log_prob_it over unmasked tokens; f = token_factor or 1.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A. Constants: advantage, token_factor.
/// Units:   nats. The value moves with log_prob and is no measure of progress.
/// Stats:   old_log_prob is optional; it serves ratio_max and kl_old only (as in ppo_clip), which are 0 without it.
/// Errors:  shape_error. No allocation; one pass, and one more for old_log_prob.
/// Needs:   on-policy rows, or token_factor = importance weights.
/// Source:  Williams 1992, Machine Learning 8.
struct policy_gradient_loss {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;

    void check() const {}

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        detail::check_policy_terms(terms, row_weight, d_log_prob, "policy_gradient_loss");
        detail::check_same_shape(terms.log_prob, terms.advantage, "policy_gradient_loss", "terms.advantage");
        detail::check_same_shape_if_given(terms.log_prob, terms.old_log_prob, "policy_gradient_loss",
                                          "terms.old_log_prob");
        policy_loss_stats stats;
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            double weight = row_weight[b] * static_cast<double>(terms.advantage.row(b)[t]);
            if (!terms.token_factor.empty()) weight *= static_cast<double>(terms.token_factor.row(b)[t]);
            stats.loss -= weight * static_cast<double>(terms.log_prob.row(b)[t]);
            stats.tokens += 1;
            d_log_prob.row(b)[t] += static_cast<T>(-weight);
        });
        if (terms.old_log_prob.empty()) return stats;
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            const double d = clamp_log_ratio(static_cast<double>(terms.log_prob.row(b)[t]) -
                                             static_cast<double>(terms.old_log_prob.row(b)[t]));
            const double ratio = std::exp(d);
            stats.ratio_max = std::fmax(stats.ratio_max, ratio);
            stats.kl_old += ratio - 1 - d;
        });
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
