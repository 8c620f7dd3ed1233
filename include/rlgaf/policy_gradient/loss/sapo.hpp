#pragma once
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Soft adaptive policy optimisation: a smooth gate on the ratio in place of a clip, steeper for negative advantages.
/// Formula: r = exp(log_prob - old_log_prob);  tau = tau_positive where A > 0, else tau_negative;
///          L = -sum of w_i f_it A_it (4 / tau) sigmoid(tau (r_it - 1)) over unmasked tokens.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A r 4 p (1 - p), p the sigmoid: at r = 1 the weight is 1, far from it 0. Constants: all
///          but log_prob.
/// Units:   nats. The log-ratio is held within +-20; outside, the ratio is constant and has no gradient.
///          The value is offset by -2 A / tau: at r = 1 it is not -A.
/// At kinks: smooth but at the limits +-20, which count as inside. A = 0 takes tau_negative: no loss, no gradient.
/// Errors:  shape_error; option_error. No allocation, one pass.
/// Needs:   old_log_prob at the same temperature as log_prob; sequence-mean weights in the paper.
/// Source:  Gao et al. 2025, arXiv 2511.20347.
struct sapo {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double tau_positive = 1;     ///< in (0, 1000]; paper, TRL, verl: 1
    double tau_negative = 1.05;  ///< in (0, 1000]; paper, TRL, verl: 1.05

    void check() const {
        detail::check_option(tau_positive > 0 && tau_positive <= 1000, "sapo", "tau_positive", "in (0, 1000]",
                             tau_positive);
        detail::check_option(tau_negative > 0 && tau_negative <= 1000, "sapo", "tau_negative", "in (0, 1000]",
                             tau_negative);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        const T gain_tau = static_cast<T>(tau_positive), gain_height = static_cast<T>(4 / tau_positive);
        const T loss_tau = static_cast<T>(tau_negative), loss_height = static_cast<T>(4 / tau_negative);
        return detail::token_loss<true>(terms, row_weight, d_log_prob, "sapo", [=](const auto& x) {
            const T tau = detail::choose(x.advantage > 0, gain_tau, loss_tau);
            const T height = detail::choose(x.advantage > 0, gain_height, loss_height);
            const T e = exponential(tau * (1 - x.ratio));
            const T p = 1 / (1 + e);
            return detail::token_output<T>{.value = height * p, .slope = 4 * x.ratio * p * (e * p) * x.alive};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
