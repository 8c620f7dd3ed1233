#pragma once
#include "rlgaf/policy_gradient/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The plain policy gradient (REINFORCE): raises the log-prob of what did better than the baseline.
/// Formula: L = -sum of w_i f_it A_it log_prob_it over unmasked tokens; f = token_factor or 1.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A. Constants: advantage, token_factor.
/// Units:   nats. The value moves with log_prob and is no measure of progress.
/// Errors:  shape_error. No allocation, one pass.
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
        policy_loss_stats stats{.ratio_max = 1};
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            double weight = row_weight[b] * static_cast<double>(terms.advantage.row(b)[t]);
            if (!terms.token_factor.empty()) weight *= static_cast<double>(terms.token_factor.row(b)[t]);
            stats.loss -= weight * static_cast<double>(terms.log_prob.row(b)[t]);
            stats.tokens += 1;
            d_log_prob.row(b)[t] += static_cast<T>(-weight);
        });
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
