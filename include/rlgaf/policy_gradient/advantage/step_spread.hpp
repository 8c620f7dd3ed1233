#pragma once
#include "rlgaf/policy_gradient/advantage/token_reward.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// What estimators that know no groups make of the step's rewards.
struct step_spread {
    double size;  ///< what a spread is judged by: the largest |mean| of the rewards that vary, infinity where none does
    double same;  ///< 1 if all rows with a reward earn the same in sum, else 0
};
/// `total` is scratch.
template <class T>
step_spread spread_of_rewards(const advantage_terms<T>& terms, const ragged_view<T>& advantage,
                              std::vector<double>& total) {
    double size = -1;
    const auto see = [&size](const moments& m) {
        if (!is_constant(m.deviation(), m.mean)) size = std::fmax(size, std::abs(m.mean));
    };
    const bool stepwise = !terms.reward.token.empty();
    total.assign(advantage.rows(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < advantage.rows(); ++i)
        if (has_token(advantage, terms.mask, i)) total[i] = stepwise ? token_sum(terms, i) : 0;
    if (stepwise) see(moments_of(span_of(total)));
    for (std::size_t i = 0; i < advantage.rows() && !terms.reward.outcome.empty(); ++i)
        total[i] += outcome_of(terms.reward, i);
    for (const outcome_reward& r : terms.reward.outcome) see(moments_of(r.value));
    if (size < 0) size = std::numeric_limits<double>::infinity();
    const moments m = moments_of(span_of(total));
    return {size, m.count > 0 && is_constant(m.deviation(), size) ? 1.0 : 0.0};
}
template <class T>
double same_rewards(const advantage_terms<T>& terms, const ragged_view<T>& advantage, std::vector<double>& total) {
    return spread_of_rewards(terms, advantage, total).same;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
