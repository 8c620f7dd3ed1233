#pragma once
#include "rlgaf/policy_gradient/advantage/center.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

template <class T, class G>
void check_token_rewards(const advantage_terms<T>& terms, const ragged_view<G>& advantage, const char* function) {
    check_advantage_terms(terms, advantage, function);
    if (!terms.reward.bootstrap.empty())
        check_size(terms.reward.bootstrap.size(), advantage.rows(), function, "terms.reward.bootstrap");
}

/// Sum of the outcomes that apply to row i; NaN where none does.
template <class T>
double outcome_of(const reward_view<T>& reward, std::size_t i) {
    double total = 0;
    bool applies = false;
    for (const outcome_reward& r : reward.outcome)
        if (!is_nan(&r.value[i])) {
            total += r.value[i];
            applies = true;
        }
    return applies ? total : std::numeric_limits<double>::quiet_NaN();
}

/// The value after row i: 0 unless the row was truncated.
template <class T>
double bootstrap_of(const reward_view<T>& reward, std::size_t i) {
    return reward.bootstrap.empty() ? 0 : reward.bootstrap[i];
}

template <class G>
bool has_token(const ragged_view<G>& shape, const mask_view& mask, std::size_t i) {
    return mask.empty() ? shape.length(i) > 0 : count_included(mask.row(i).data(), shape.length(i)) > 0;
}

/// The undiscounted return of a row without token rewards; NaN where no reward applies.
template <class T>
double row_return(const reward_view<T>& reward, std::size_t i) {
    const double outcome = reward.outcome.empty() ? 0 : outcome_of(reward, i);
    return outcome + bootstrap_of(reward, i);
}

/// Calls f(token, reward) for the unmasked tokens of row i, the last one first; not at all if no reward applies.
/// The row's outcomes are paid at its last unmasked token.
template <class T, class F>
void for_each_reward(const advantage_terms<T>& terms, std::size_t i, std::size_t length, F&& f) {
    double outcome = outcome_of(terms.reward, i);
    if (is_nan(&outcome)) {
        if (terms.reward.token.empty() && !terms.reward.outcome.empty()) return;
        outcome = 0;
    }
    const auto token = row_if_given(terms.reward.token, i);
    const included_tokens included(terms.mask, i);
    for (std::size_t t = length; t-- > 0;) {
        if (!included[t]) continue;
        f(t, token.empty() ? outcome : outcome + static_cast<double>(token[t]));
        outcome = 0;
    }
}

/// Calls f(token, return) likewise: G_t = r_t + discount G_{t+1}, `bootstrap` after the last token.
template <class T, class F>
void for_each_return(const advantage_terms<T>& terms, std::size_t i, std::size_t length, double discount, F&& f) {
    double to_go = bootstrap_of(terms.reward, i);
    for_each_reward(terms, i, length, [&](std::size_t t, double r) { f(t, to_go = r + discount * to_go); });
}

/// 1 if all rows of the step with a reward earn the same in sum, else 0: what estimators that know no groups report.
template <class T>
double same_rewards(const advantage_terms<T>& terms, const ragged_view<T>& advantage, std::vector<double>& total) {
    total.assign(advantage.rows(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < advantage.rows(); ++i) {
        if (!has_token(advantage, terms.mask, i)) continue;
        const bool stepwise = !terms.reward.token.empty();
        const double outcome = terms.reward.outcome.empty() ? 0 : outcome_of(terms.reward, i);
        total[i] =
            stepwise ? masked_row_sum(terms.reward.token, terms.mask, i) + (is_nan(&outcome) ? 0 : outcome) : outcome;
    }
    const moments m = moments_of(total);
    return m.count > 0 && is_constant(m.deviation(), m.mean) ? 1 : 0;
}

/// Mean 0, deviation 1; numbers that are all equal become exactly 0.
inline void whiten_numbers(std::vector<double>& x, variance_kind kind) {
    const std::size_t ends[] = {0, x.size()};
    const moments m = whiten{.kind = kind}(ragged_view<double>::packed(x.data(), ends), {});
    if (is_constant(m.deviation(), m.mean)) x.assign(x.size(), 0.0);
}

/// Writes the numbers on the tokens in the order in which for_each_reward visits them, 0 on all others.
template <class T>
void write_in_order(const std::vector<double>& x, const advantage_terms<T>& terms, const ragged_view<T>& out) {
    std::size_t next = 0;
    for (std::size_t i = 0; i < out.rows(); ++i) {
        const auto row = out.row(i);
        for (T& v : row) v = 0;
        for_each_reward(terms, i, row.size(), [&](std::size_t t, double) { row[t] = static_cast<T>(x[next++]); });
    }
}

/// Critic targets of tokens that no reward reaches: what the critic says already. 0 on masked tokens.
template <class T>
void targets_are_values(const advantage_terms<T>& terms, const ragged_view<T>& returns) {
    for (std::size_t i = 0; i < returns.rows(); ++i) {
        const auto target = returns.row(i);
        const auto value = terms.value.row(i);
        const included_tokens included(terms.mask, i);
        for (std::size_t t = 0; t < target.size(); ++t) target[t] = included[t] ? value[t] : T{0};
    }
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
