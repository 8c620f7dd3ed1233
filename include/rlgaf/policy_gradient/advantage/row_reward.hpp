#pragma once
#include "rlgaf/policy_gradient/advantage/center.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Calls f(reward_of) for every reward of whole rows: each outcome, then the token rewards summed. reward_of(row) is
/// NaN where the reward does not apply.
template <class T, class F>
void for_each_row_reward(const advantage_terms<T>& terms, F&& f) {
    for (const outcome_reward& r : terms.reward.outcome) f([&](std::size_t i) { return r.value[i]; });
    if (!terms.reward.token.empty())
        f([&](std::size_t i) { return token_sum(terms, i); });
}

/// For what center_rewards leaves in work.a [B] and work.b [groups]: work.d[g] becomes 0 in a group that teaches
/// nothing (equal rewards, a single row, no reward), else 1. Returns the share of such groups among those with a
/// reward. work.e is overwritten.
inline double find_constant_groups(const groups& group, workspace& work) {
    std::vector<double>&spread = work.d, &count = work.e;
    spread.assign(group.count, 0.0);
    count.assign(group.count, 0.0);
    for (std::size_t i = 0; i < work.a.size(); ++i) {
        if (is_nan(&work.a[i])) continue;
        spread[group.id[i]] = std::fmax(spread[group.id[i]], std::abs(work.a[i]));
        count[group.id[i]] += 1;
    }
    double constant = 0, filled = 0;
    for (std::size_t g = 0; g < group.count; ++g) {
        spread[g] = is_constant(spread[g], work.b[g]) ? 0 : 1;
        filled += count[g] > 0;
        constant += count[g] > 0 && spread[g] == 0;
    }
    return filled > 0 ? constant / filled : 0;
}

/// The share of the groups whose rows all earn the same. Overwrites all of work.
template <class T>
double constant_groups(const advantage_terms<T>& terms, std::size_t rows, workspace& work) {
    center_rewards(terms, rows, false, work);
    return find_constant_groups(terms.group, work);
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
