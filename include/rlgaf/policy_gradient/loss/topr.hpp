#pragma once
#include "rlgaf/policy_gradient/weighted_row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// TOPR: learns from rows of any age. What did well is raised as in supervised learning; what did badly is lowered only
/// as far as the policy would still say it.
/// Formula: W_i = exp(sum over the row's unmasked tokens of log_prob - old_log_prob);
///          phi = 1 where A >= 0, min(1, W_i) where A < 0;
///          L = -sum of w_i f_it phi_it A_it log_prob_it over unmasked tokens; f = token_factor or 1.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f phi A. Constants: all but log_prob, and phi.
/// Units:   nats. The value moves with log_prob and is no measure of progress. The log-ratios of the tokens and their
///          sum are held within +-20.
/// Stats:   nothing is clipped; ratio_max is of W.
/// At kinks: W = 1 is where both weights meet; A = 0 adds nothing.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error. No allocation.
/// Needs:   old_log_prob of the policy that sampled. The advantage stands for the paper's reward, baseline included;
///          its sign decides, token by token where a row has both. aggregation::sequence_sum for the paper's mean over
///          rows.
/// Source:  Le Roux et al. 2025, arXiv 2503.14286.
struct topr {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;

    void check() const {}

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        return detail::weighted_row_loss(terms, row_weight, d_log_prob, "topr", [](double log_ratio) {
            return detail::row_phi{.gains = 1, .loses = log_ratio > 0 ? 1 : std::exp(log_ratio)};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
