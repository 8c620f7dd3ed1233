#pragma once
#include "rlgaf/policy_gradient/row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A*-PO: regression of the row's log-ratio to the reference policy on its optimal advantage; one sample a prompt is
/// enough.
/// Formula: S_i = sum over the row's n_i unmasked tokens of log_prob - reference_log_prob;  A_i = their mean advantage;
///          L = sum of w_i F_i (beta S_i - A_i)^2,  F_i = sum of token_factor (n_i without).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += 2 w F beta (beta S - A) on the row's unmasked tokens, also where A = 0. Constants: all but
///          log_prob.
/// Units:   beta is reward a nat. S is not exponentiated and not held: its goal is A / beta, hundreds of nats.
/// Stats:   nothing is clipped; old_log_prob is not read, ratio_max and kl_old are 0.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   advantage = R - astar_value(rewards of the reference policy's answers to the prompt): remax with that in
///          place of the greedy reward; on-policy rows; aggregation::sequence_mean for the paper's mean over rows.
/// Source:  Brantley et al. 2025, arXiv 2505.20686.
struct astar_po {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    static constexpr bool needs_reference = true;
    double beta = 1e-3;  ///< finite, > 0

    void check() const {
        detail::check_option(beta > 0 && beta < std::numeric_limits<double>::infinity(), "astar_po", "beta",
                             "finite and positive", beta);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        detail::check_same_shape(terms.log_prob, terms.reference_log_prob, "astar_po", "terms.reference_log_prob");
        policy_terms<T> to_reference = terms;
        to_reference.old_log_prob = terms.reference_log_prob;
        policy_loss_stats stats =
            detail::row_loss(to_reference, row_weight, d_log_prob, "astar_po", [&](const detail::row_input& row) {
                const double error = beta * row.log_ratio - row.advantage;
                return detail::row_output{.loss = error * error, .slope = 2 * beta * error};
            });
        stats.kl_old = 0;  // what was summed is to the reference
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
