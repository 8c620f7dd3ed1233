#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// V-trace: advantages and critic targets for rows that an older policy sampled.
/// Formula: ratio_t = exp(log_prob - behaviour_log_prob);
///          rho_t = (1 - alpha) ratio_t + alpha min(rho_max, ratio_t),  c_t likewise with c_max, times lambda;
///          delta_t = rho_t (r_t + discount V_{t+1} - V_t);  e_t = delta_t + discount c_t e_{t+1};
///          return_t = V_t + e_t;
///          A_t = rho_t (r_t + discount (V_{t+1} + lambda e_{t+1}) - V_t).
///          Outcomes are paid at the last unmasked token, V after it is `bootstrap`. Masked tokens are skipped.
///          rlax fixes c_max to 1 and has a further bound for the rho in A; here both are rho_max, as in the paper.
///          With the behaviour policy unchanged this is gae without whitening.
/// Shapes:  advantage and, if given, returns (the critic's targets) [B, length], overwritten; masked tokens get 0.
/// Units:   log-probs in nats. The log-ratio is held within +-20.
/// Degenerate: a row without a reward: A = 0, return = V.
/// Errors:  shape_error; option_error.
/// Needs:   terms.value[t]: the critic's value before token t is emitted. A loss without a ratio of its own
///          (policy_gradient_loss): A already carries the importance weight.
/// Source:  Espeholt et al. 2018, arXiv 1802.01561, equation 1 and section 4.2; alpha: Zahavy et al. 2020, arXiv
///          2002.12928; lambda as in the paper's remark 2.
struct vtrace {
    using role = role::advantage;
    static constexpr bool needs_value = true;
    static constexpr bool needs_behaviour_log_prob = true;
    double discount = 1;         ///< in [0, 1]
    double lambda = 1;           ///< in [0, 1]
    double rho_max = 1;          ///< > 0; infinity: the values of the policy that learns, with all the variance
    double c_max = 1;            ///< >= 0, at most rho_max in the paper
    double alpha = 1;            ///< in [0, 1]; below 1 (leaky) part of the weight is not truncated
    std::size_t group_size = 1;  ///< samples a prompt that the trainer draws

    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "vtrace", "discount", "in [0, 1]", discount);
        detail::check_option(lambda >= 0 && lambda <= 1, "vtrace", "lambda", "in [0, 1]", lambda);
        detail::check_option(rho_max > 0, "vtrace", "rho_max", "positive", rho_max);
        detail::check_option(c_max >= 0, "vtrace", "c_max", "0 or positive", c_max);
        detail::check_option(alpha >= 0 && alpha <= 1, "vtrace", "alpha", "in [0, 1]", alpha);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work, const ragged_view<T>& advantage,
                               const ragged_view<T>& returns = {}) const {
        check();
        detail::check_token_rewards(terms, advantage, "vtrace");
        detail::check_same_shape(advantage, terms.value, "vtrace", "terms.value");
        detail::check_same_shape(advantage, terms.log_prob, "vtrace", "terms.log_prob");
        detail::check_same_shape(advantage, terms.behaviour_log_prob, "vtrace", "terms.behaviour_log_prob");
        detail::check_same_shape_if_given(advantage, returns, "vtrace", "returns");
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            for (std::vector<double>* x : {&work.a, &work.c, &work.d, &work.e}) x->resize(advantage.length(i) + 1);
            double *const gain = work.a.data(), *const value = work.c.data(), *const rho = work.d.data(),
                          *const c = work.e.data();
            const std::size_t n = detail::list_rewards(terms, i, advantage.length(i), gain);
            value[detail::list_tokens(terms.value, terms.mask, i, value)] = detail::bootstrap_of(terms.reward, i);
            detail::list_tokens(terms.log_prob, terms.mask, i, rho);
            detail::list_tokens(terms.behaviour_log_prob, terms.mask, i, c);
            const auto truncated = [a = alpha](double ratio, double largest) {
                return detail::choose(ratio > largest, (1 - a) * ratio + a * largest, ratio);
            };
            const double most = rho_max, c_most = c_max, scale = discount * lambda, forget = discount;
            for (std::size_t k = 0; k < n; ++k) {
                const double ratio = exponential(detail::held_within(rho[k] - c[k], -log_ratio_limit, log_ratio_limit));
                rho[k] = truncated(ratio, most), c[k] = scale * truncated(ratio, c_most);
                gain[k] += forget * value[k + 1] - value[k];
            }
            double error = 0;
            for (std::size_t k = n; k-- > 0;) {
                const double step = gain[k];
                gain[k] = rho[k] * (step + discount * lambda * error);
                value[k] += error = rho[k] * step + c[k] * error;  // becomes the target
            }
            detail::write_tokens(advantage, terms.mask, i, [=](std::size_t k) { return n > 0 ? gain[k] : 0; });
            if (!returns.empty()) detail::write_tokens(returns, terms.mask, i, [=](std::size_t k) { return value[k]; });
        }
        return detail::summarize(advantage, terms.mask, detail::same_rewards(terms, advantage, work.b));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
