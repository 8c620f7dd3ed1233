#pragma once
#include "rlgaf/policy_gradient/row_loss.hpp"

/// What losses share that are linear in log_prob, with one weight a row.
namespace rlgaf::inline RLGAF_ABI::detail {

/// A detached weight of a row's tokens: one for advantages of 0 and above, one for those below.
struct row_phi {
    double gains, loses;
};

/// L = -sum of w_i f_it phi_i A_it log_prob_it; adds the gradient with phi held constant. `formula` maps the row's
/// log-ratio, whose tokens and sum are held within +-20, to row_phi.
template <class T, class Formula>
policy_loss_stats weighted_row_loss(const policy_terms<T>& terms, std::span<const double> row_weight,
                                    const ragged_view<T>& d_log_prob, const char* function, Formula&& formula) {
    check_row_terms(terms, row_weight, d_log_prob, function);
    const T limit = static_cast<T>(log_ratio_limit);
    policy_loss_stats stats;
    lane_sum kl;
    for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
        const double log_ratio = clamp_log_ratio(held_log_ratio(terms, b, -limit, limit, kl));
        const row_phi phi = formula(log_ratio);
        const T gains = static_cast<T>(phi.gains), loses = static_cast<T>(phi.loses);
        policy_loss_stats row =
            token_loss<false>(terms.slice(b, 1), row_weight.subspan(b, 1), d_log_prob.slice(b, 1), function,
                              [=](const token_input<T>& x) {
                                  const T weight = x.advantage < 0 ? loses : gains;
                                  return token_output<T>{.value = weight * x.log_prob, .slope = weight};
                              });
        row.ratio_max = row.tokens > 0 ? std::exp(log_ratio) : 0;
        stats.merge(row);
    }
    stats.kl_old = kl.total();
    return stats;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
