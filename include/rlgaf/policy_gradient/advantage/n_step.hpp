#pragma once
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Advantages from n-step bootstrapped returns, and from lambda-returns, of the policy's own samples.
/// Formula: G_t = r_t + discount ((1 - lambda) V_{t+1} + lambda G_{t+1}), n times; the innermost G is V;
///          A_t = G_t - V_t. n = 0: to the end of the row, the lambda-return. lambda = 1: n rewards, then V.
///          Outcomes are paid at the last unmasked token, V after it is `bootstrap`. Masked tokens are skipped.
///          n = 0 is gae without whitening, n = 1 one temporal difference.
/// Shapes:  advantage and, if given, returns (the critic's targets) [B, length], overwritten; masked tokens get 0.
/// Degenerate: n beyond the end of the row: to the end. A row without a reward: A = 0, return = V.
/// Errors:  shape_error; option_error.
/// Needs:   terms.value[t]: the critic's value before token t is emitted.
/// Source:  Sutton and Barto 2018, sections 7.1 and 12.1; rlax n_step_bootstrapped_returns and lambda_returns.
struct n_step {
    using role = role::advantage;
    static constexpr bool needs_value = true;
    std::size_t n = 5;           ///< rewards before the critic is asked; 0: all
    double discount = 1;         ///< in [0, 1]
    double lambda = 1;           ///< in [0, 1]
    std::size_t group_size = 1;  ///< samples a prompt that the trainer draws

    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "n_step", "discount", "in [0, 1]", discount);
        detail::check_option(lambda >= 0 && lambda <= 1, "n_step", "lambda", "in [0, 1]", lambda);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work, const ragged_view<T>& advantage,
                               const ragged_view<T>& returns = {}) const {
        check();
        detail::check_token_rewards(terms, advantage, "n_step");
        detail::check_same_shape(advantage, terms.value, "n_step", "terms.value");
        detail::check_same_shape_if_given(advantage, returns, "n_step", "returns");
        const double decay = discount * lambda;
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            for (std::vector<double>* x : {&work.a, &work.c}) x->resize(advantage.length(i) + 1);
            double *const gain = work.a.data(), *const value = work.c.data();
            const std::size_t tokens = detail::list_rewards(terms, i, advantage.length(i), gain);
            value[detail::list_tokens(terms.value, terms.mask, i, value)] = detail::bootstrap_of(terms.reward, i);
            for (std::size_t k = 0; k < tokens; ++k) gain[k] += discount * value[k + 1] - value[k];
            if (n > 0 && n < tokens) {  // A_t = sum of decay^j delta_{t+j}, j < n: what leaves the window is taken out
                const double leaves = std::pow(decay, static_cast<double>(n));
                for (std::size_t k = 0; k + n < tokens; ++k) gain[k] -= leaves * gain[k + n];
            }
            detail::sum_to_go(gain, tokens, decay, 0);
            detail::write_tokens(advantage, terms.mask, i, [=](std::size_t k) { return tokens > 0 ? gain[k] : 0; });
            if (!returns.empty())
                detail::write_tokens(returns, terms.mask, i,
                                     [=](std::size_t k) { return tokens > 0 ? value[k] + gain[k] : value[k]; });
        }
        return detail::summarize(advantage, terms.mask, detail::same_rewards(terms, advantage, work.b));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
