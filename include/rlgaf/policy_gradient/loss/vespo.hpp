#pragma once
#include "rlgaf/policy_gradient/weighted_row_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// VESPO: the policy gradient with every row weighed by a smooth kernel of its whole ratio that fades both tails.
/// Formula: W_i = exp(sum over the row's unmasked tokens of log_prob - old_log_prob);
///          phi(W) = W^k exp(lambda (1 - W)), 1 at W = 1, largest at W = k / lambda;
///          L = -sum of w_i f_it phi_i A_it log_prob_it over unmasked tokens; f = token_factor or 1.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f phi A. Constants: all but log_prob, and phi.
/// Units:   nats. The value moves with log_prob and is no measure of progress. The log-ratios of the tokens and their
///          sum are held within +-20 (TRL: the sum within log 1e-8 and 20).
/// Stats:   nothing is clipped; ratio_max is of W.
/// At kinks: k and lambda go by the sign of each token's advantage (peers have one a row), 0 with the positive ones.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   old_log_prob of the policy that sampled (TRL multiplies a sampler correction into W); the paper uses
///          aggregation::token_mean.
/// Source:  Shen et al. 2026, arXiv 2602.10693.
struct vespo {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double k_positive = 2;       ///< finite, >= 0
    double lambda_positive = 3;  ///< finite, > 0
    double k_negative = 3;       ///< finite, >= 0
    double lambda_negative = 2;  ///< finite, > 0

    void check() const {
        const auto in_range = [](const char* field, double x, bool zero) {
            detail::check_option((zero ? x >= 0 : x > 0) && x < std::numeric_limits<double>::infinity(), "vespo", field,
                                 zero ? "finite, 0 or positive" : "finite and positive", x);
        };
        in_range("k_positive", k_positive, true);
        in_range("lambda_positive", lambda_positive, false);
        in_range("k_negative", k_negative, true);
        in_range("lambda_negative", lambda_negative, false);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        return detail::weighted_row_loss(terms, row_weight, d_log_prob, "vespo", [&](double log_ratio) {
            const double short_of_1 = -std::expm1(log_ratio);
            return detail::row_phi{.gains = std::exp(k_positive * log_ratio + lambda_positive * short_of_1),
                                   .loses = std::exp(k_negative * log_ratio + lambda_negative * short_of_1)};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
