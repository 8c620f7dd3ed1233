#pragma once
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Generalised advantage estimation: rewards to go against a critic's values, variance traded for bias by lambda.
/// Formula: delta_t = r_t + discount V_{t+1} - V_t;  A_t = delta_t + discount lambda A_{t+1};  return_t = A_t + V_t.
///          The row's outcomes are paid at its last unmasked token; V after it is `bootstrap`, 0 where not truncated
///          (TRL, verl and OpenRLHF have none: there a truncated row counts as finished).
///          Masked tokens are skipped, as in verl: a hole costs neither discount nor lambda, and V_{t+1} is the value
///          at the next unmasked token (OpenRLHF and TRL step through a hole with V = 0).
///          whiten: A then gets mean 0 and deviation 1 over the step's unmasked tokens; the returns do not.
/// Shapes:  advantage and, if given, returns (the critic's targets) [B, length], overwritten; masked tokens get 0.
/// Degenerate: a row without a reward: A = 0, return = V, and it is in no mean or deviation. Advantages that are all
///          equal, or a single one: 0 where whitened (verl raises, TRL gives NaN).
/// Errors:  shape_error; option_error.
/// Needs:   terms.value[t]: the critic's value before token t is emitted, from before this step's updates.
/// Source:  Schulman et al. 2015, arXiv 1506.02438, equation 16.
struct gae {
    using role = role::advantage;
    static constexpr bool needs_value = true;
    double discount = 1;   ///< in [0, 1]
    double lambda = 0.95;  ///< in [0, 1]; 1: rewards to go minus V; 0: one step. verl and OpenRLHF: 1
    bool whiten = true;
    variance_kind variance = variance_kind::bessel;  ///< of whitening; OpenRLHF: biased
    std::size_t group_size = 1;                      ///< samples a prompt that the trainer draws

    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "gae", "discount", "in [0, 1]", discount);
        detail::check_option(lambda >= 0 && lambda <= 1, "gae", "lambda", "in [0, 1]", lambda);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work, const ragged_view<T>& advantage,
                               const ragged_view<T>& returns = {}) const {
        check();
        detail::check_token_rewards(terms, advantage, "gae");
        detail::check_same_shape(advantage, terms.value, "gae", "terms.value");
        detail::check_same_shape_if_given(advantage, returns, "gae", "returns");
        std::vector<double>&gain = work.a, &value = work.c;
        gain.resize(detail::all_tokens(advantage));
        work.index.resize(advantage.rows());
        double* row = gain.data();
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t n = work.index[i] = detail::list_rewards(terms, i, advantage.length(i), row);
            value.resize(advantage.length(i) + 1);
            const std::size_t tokens = detail::list_tokens(terms.value, terms.mask, i, value.data());
            value[tokens] = detail::bootstrap_of(terms.reward, i);
            const double* const v = value.data();
            for (std::size_t k = 0; k < n; ++k) row[k] += discount * v[k + 1] - v[k];
            detail::sum_to_go(row, n, discount * lambda, 0);
            if (!returns.empty())
                detail::write_tokens(returns, terms.mask, i,
                                     [=](std::size_t k) { return n > 0 ? row[k] + v[k] : v[k]; });
            row += n;
        }
        const detail::step_spread spread = detail::spread_of_rewards(terms, advantage, work.b);
        const moments m =
            detail::write_rows(gain.data(), work.index, whiten, variance, terms.mask, advantage, spread.size);
        return {m.mean, m.deviation(), spread.same};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
