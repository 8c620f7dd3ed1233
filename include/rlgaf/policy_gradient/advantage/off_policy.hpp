#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How far a return follows the samples of another policy: the coefficient c of a token, ratio = pi / mu.
enum class off_policy_trace {
    retrace,      ///< lambda min(1, ratio). Munos et al. 2016
    tree_backup,  ///< lambda pi. Precup et al. 2000
    q_lambda,     ///< lambda: no correction, safe only near the behaviour policy. Harutyunyan et al. 2016
    importance    ///< lambda ratio: unbiased, with all the variance
};

/// Corrected multi-step returns for rows that an older policy sampled: Retrace, tree backup, Q(lambda), per-decision
/// importance sampling.
/// Formula: ratio_t = exp(log_prob - behaviour_log_prob);
///          G_t = r_t + discount (V_{t+1} + c_{t+1} (G_{t+1} - Q_{t+1})), the value of token t where it was emitted;
///          A_t = min(rho_max, ratio_t) (G_t - V_t);   return_t = V_t + A_t.
///          Q is terms.action_value, the value of the token that was emitted. Without it Q = V: then G corrects from
///          the value of the state, not of the token, retrace is exactly vtrace with its defaults, and importance
///          with rho_max = infinity is rlax's importance_corrected_td_errors.
///          Outcomes are paid at the last unmasked token, V after it is `bootstrap`. Masked tokens are skipped.
/// Shapes:  advantage and, if given, returns (the targets of V) [B, length], overwritten; masked tokens get 0.
/// Units:   log-probs in nats. The log-ratio is held within +-20.
/// Degenerate: a row without a reward: A = 0, return = V.
/// Errors:  shape_error; option_error.
/// Needs:   terms.value[t]: the critic's value before token t is emitted, under the policy that learns. A loss without
///          a ratio of its own (policy_gradient_loss): A already carries the importance weight.
/// Source:  Munos et al. 2016, arXiv 1606.02647, equation 3 and section 3; tree backup: Precup, Sutton and Singh 2000;
///          Q(lambda): Harutyunyan et al. 2016, arXiv 1602.04951; rlax general_off_policy_returns_from_q_and_v, which
///          has no lambda in tree backup (1 here).
struct off_policy {
    using role = role::advantage;
    static constexpr bool needs_value = true;
    static constexpr bool needs_behaviour_log_prob = true;
    off_policy_trace trace = off_policy_trace::retrace;
    double discount = 1;         ///< in [0, 1]
    double lambda = 1;           ///< in [0, 1]
    double rho_max = 1;          ///< > 0; infinity: unbiased, with all the variance
    std::size_t group_size = 1;  ///< samples a prompt that the trainer draws

    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "off_policy", "discount", "in [0, 1]", discount);
        detail::check_option(lambda >= 0 && lambda <= 1, "off_policy", "lambda", "in [0, 1]", lambda);
        detail::check_option(rho_max > 0, "off_policy", "rho_max", "positive", rho_max);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work, const ragged_view<T>& advantage,
                               const ragged_view<T>& returns = {}) const {
        check();
        detail::check_token_rewards(terms, advantage, "off_policy");
        detail::check_same_shape(advantage, terms.value, "off_policy", "terms.value");
        detail::check_same_shape(advantage, terms.log_prob, "off_policy", "terms.log_prob");
        detail::check_same_shape(advantage, terms.behaviour_log_prob, "off_policy", "terms.behaviour_log_prob");
        detail::check_same_shape_if_given(advantage, terms.action_value, "off_policy", "terms.action_value");
        detail::check_same_shape_if_given(advantage, returns, "off_policy", "returns");
        const ragged_view<const T>& action_value = terms.action_value.empty() ? terms.value : terms.action_value;
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            for (std::vector<double>* x : {&work.a, &work.b, &work.c, &work.d, &work.e})
                x->resize(advantage.length(i) + 1);
            double *const gain = work.a.data(), *const q = work.b.data(), *const value = work.c.data(),
                          *const rho = work.d.data(), *const c = work.e.data();
            const std::size_t n = detail::list_rewards(terms, i, advantage.length(i), gain);
            detail::list_tokens(terms.value, terms.mask, i, value);
            detail::list_tokens(action_value, terms.mask, i, q);
            detail::list_tokens(terms.log_prob, terms.mask, i, rho);
            detail::list_tokens(terms.behaviour_log_prob, terms.mask, i, c);
            if (n > 0) value[n] = detail::bootstrap_of(terms.reward, i);  // else all values stay
            with_trace([&](auto trace_of) { weigh(trace_of, rho, c, n); });
            // G_k = known_k + discount beyond_{k+1}, beyond_k = c_k (G_k - Q_k): only the latter waits for the next one
            const double forget = discount;  // a copy that no array can alias
            for (std::size_t k = 0; k < n; ++k) {
                gain[k] += forget * value[k + 1];
                q[k] = c[k] * (gain[k] - q[k]), c[k] *= forget;
            }
            q[n] = 0;
            for (std::size_t k = n; k-- > 0;) q[k] += c[k] * q[k + 1];
            for (std::size_t k = 0; k < n; ++k) {
                gain[k] = rho[k] * (gain[k] + forget * q[k + 1] - value[k]);
                value[k] += gain[k];  // becomes the target
            }
            detail::write_tokens(advantage, terms.mask, i, [=](std::size_t k) { return n > 0 ? gain[k] : 0; });
            if (!returns.empty()) detail::write_tokens(returns, terms.mask, i, [=](std::size_t k) { return value[k]; });
        }
        return detail::summarize(advantage, terms.mask, detail::same_rewards(terms, advantage, work.b));
    }

private:
    /// Calls f with the trace's coefficient, without lambda, of a ratio and a log-prob.
    template <class F>
    void with_trace(F&& f) const {
        switch (trace) {
            case off_policy_trace::retrace:
                return f([](double ratio, double) { return detail::choose(ratio > 1, 1.0, ratio); });
            case off_policy_trace::tree_backup:
                return f([](double, double log_prob) { return exponential(log_prob); });
            case off_policy_trace::q_lambda:
                return f([](double, double) { return 1.0; });
            case off_policy_trace::importance:
                return f([](double ratio, double) { return ratio; });
        }
    }

    /// From the two log-probs of n tokens to min(rho_max, ratio) and c.
    template <class F>
    RLGAF_FLATTEN void weigh(F&& trace_of, double* rho, double* c, std::size_t n) const {
        const double most = rho_max, scale = lambda;
        for (std::size_t k = 0; k < n; ++k) {
            const double ratio = exponential(detail::held_within(rho[k] - c[k], -log_ratio_limit, log_ratio_limit));
            c[k] = scale * trace_of(ratio, rho[k]);
            rho[k] = detail::choose(ratio > most, most, ratio);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
