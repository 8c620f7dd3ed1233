#pragma once
#include "rlgaf/policy_gradient/token_loss.hpp"
#include "rlgaf/policy_gradient/token_order.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// KL-Cov: no clip, but the few tokens that lower the entropy most, by the covariance of log-prob and advantage, are
/// held to the old policy.
/// Formula: r = exp(log_prob - old_log_prob);  c = (A - mean A)(log_prob - mean log_prob), means over all unmasked tokens;
///          S = the max(1, floor(fraction N)) of the N unmasked tokens with the largest c;
///          L = -sum of w_i f_it A_it r_it + coefficient sum over S of w_i |log_prob_it - old_log_prob_it|.
/// Shapes:  all [B, length]; row_weight [B]. Call it with all rows of the step.
/// Adds:    d_log_prob += -w f A r, on S also coefficient w sign(log_prob - old_log_prob). Constants: all but log_prob,
///          and S. token_factor does not touch the second term, as with every KL term (verl weighs both), nor S.
/// Units:   nats. In r the log-ratio is held within +-20; outside, r has no gradient; the second term has no limit.
/// At kinks: sign(0) = 0: on the policy's own samples the second term does nothing. Of equal c the first tokens of the
///          step are taken (peers: whatever topk returns). A = 0: no first term.
/// Degenerate: no unmasked token: nothing is added. A token whose c is NaN is not in S.
/// Errors:  shape_error; option_error.
/// Needs:   old_log_prob at the same temperature as log_prob.
/// Source:  Cui et al. 2025, arXiv 2505.22617.
struct kl_cov {
    using role = role::policy_loss;
    static constexpr bool row_separable = false;
    double fraction = 2e-4;  ///< of the unmasked tokens, in [0, 1]; 0: none. verl: 2e-4, the authors' script: 2e-3
    double coefficient = 1;  ///< finite, >= 0; the authors: 1, verl: 0.1 in its configuration

    void check() const {
        detail::check_option(fraction >= 0 && fraction <= 1, "kl_cov", "fraction", "in [0, 1]", fraction);
        detail::check_option(coefficient >= 0 && coefficient < std::numeric_limits<double>::infinity(), "kl_cov",
                             "coefficient", "finite, 0 or positive", coefficient);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob, workspace& work) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "kl_cov");
        detail::check_same_shape(terms.log_prob, terms.advantage, "kl_cov", "terms.advantage");
        detail::check_same_shape(terms.log_prob, terms.old_log_prob, "kl_cov", "terms.old_log_prob");
        pick(terms, work);
        detail::hold_gradients(work.index, d_log_prob, work.e);
        policy_loss_stats stats = detail::token_loss<true>(terms, row_weight, d_log_prob, "kl_cov", [](const auto& x) {
            return detail::token_output<T>{.value = x.ratio, .slope = x.ratio * x.alive};
        });
        for (std::size_t i = 0; i < work.index.size(); i += 2) {
            const std::size_t b = work.index[i], t = work.index[i + 1];
            const double apart =
                static_cast<double>(terms.log_prob.row(b)[t]) - static_cast<double>(terms.old_log_prob.row(b)[t]);
            const double weight = coefficient * row_weight[b], sign = (apart > 0) - (apart < 0);
            T& d = d_log_prob.row(b)[t];
            d = static_cast<T>(work.e[i / 2]) + (d + static_cast<T>(weight * sign));
            stats.loss += weight * std::abs(apart);
        }
        return stats;
    }

private:
    /// S, to work.index.
    template <class T>
    void pick(const policy_terms<T>& terms, workspace& work) const {
        detail::token_covariance(terms, work.a);
        auto top =
            detail::largest_numbers(detail::span_of(work.a), detail::picked_count(fraction, work.a.size()), work.b);
        work.index.clear();
        const double* c = work.a.data();
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            const bool tie = *c == top.value && top.ties > 0;
            top.ties -= tie;
            if (*c++ > top.value || tie) work.index.push_back(b), work.index.push_back(t);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
