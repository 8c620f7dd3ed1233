#pragma once
#include "rlgaf/policy_gradient/advantage/token_reward.hpp"

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
        std::vector<double>& gain = work.a;
        gain.clear();
        detail::targets_are_values(terms, returns);
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const auto value = terms.value.row(i);
            const auto target = row_if_given(returns, i);
            double next_value = detail::bootstrap_of(terms.reward, i), next_gain = 0;
            detail::for_each_reward(terms, i, advantage.length(i), [&](std::size_t t, double r) {
                const double v = static_cast<double>(value[t]);
                next_gain = r + discount * next_value - v + discount * lambda * next_gain;
                next_value = v;
                gain.push_back(next_gain);
                if (!target.empty()) target[t] = static_cast<T>(next_gain + v);
            });
        }
        if (whiten) detail::whiten_numbers(gain, variance);
        detail::write_in_order(gain, terms, advantage);
        return detail::summarize(advantage, terms.mask, detail::same_rewards(terms, advantage, work.b));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
