#pragma once
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The plain policy gradient (REINFORCE): raises the log-prob of what did better than the baseline.
/// Formula: L = -sum of w_i f_it A_it log_prob_it over unmasked tokens; f = token_factor or 1.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A. Constants: advantage, token_factor.
/// Units:   nats. The value moves with log_prob and is no measure of progress.
/// Stats:   old_log_prob is optional; it serves ratio_max and kl_old only (as in ppo_clip), which are 0 without it.
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
        const auto formula = [](const auto& x) { return detail::token_output<T>{.value = x.log_prob, .slope = 1}; };
        if (terms.old_log_prob.empty())
            return detail::token_loss<false>(terms, row_weight, d_log_prob, "policy_gradient_loss", formula);
        return detail::token_loss<true>(terms, row_weight, d_log_prob, "policy_gradient_loss", formula);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
