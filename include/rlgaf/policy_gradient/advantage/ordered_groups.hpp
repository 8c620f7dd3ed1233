#pragma once
#include "rlgaf/math/sort.hpp"
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// How many groups were seen, and how many of them teach nothing.
struct group_tally {
    double filled = 0, constant = 0;
    double share() const { return filled > 0 ? constant / filled : 0; }
};

/// Calls estimate(reward, advantage) for every group that has rows: `reward` ascends from the worst row to the best,
/// `advantage` (all 0) is for the same rows. Equal rewards stand in the order of their rows.
/// work.a [B]: on entry the rewards, NaN for rows that are out; on return the advantages, 0 for those.
/// work.b, work.c and work.index are overwritten. A group is constant if all its rewards, or advantages, are equal, as
/// judged by their mean, or by scale [groups] (see center_rewards) where that is smaller. An estimate that takes a third
/// argument is told so.
template <class F>
void for_each_ordered_group(const groups& group, workspace& work, group_tally& tally, F&& estimate,
                            std::span<const double> scale = {}) {
    std::vector<double>&value = work.a, &reward = work.b, &advantage = work.c;
    std::vector<std::size_t>& order = work.index;
    order.clear();
    for (std::size_t i = 0; i < value.size(); ++i)
        if (!is_nan(&value[i])) order.push_back(i);
    heap_sort(span_of(order), [&](std::size_t i, std::size_t j) {
        if (group.id[i] != group.id[j]) return group.id[i] < group.id[j];
        if (value[i] != value[j]) return value[i] < value[j];
        return i < j;
    });
    const std::size_t rows = order.size();
    reward.resize(rows);
    advantage.assign(rows, 0.0);
    for (std::size_t k = 0; k < rows; ++k) reward[k] = value[order[k]];
    for (std::size_t first = 0, last = 0; first < rows; first = last) {
        while (last < rows && group.id[order[last]] == group.id[order[first]]) ++last;
        const std::span<const double> r = span_of(reward, first, last - first);
        const std::span<double> a = span_of(advantage, first, last - first);
        const moments earned = moments_of(r);
        const double own = std::abs(earned.mean), size = scale.empty() ? own : scale[group.id[order[first]]];
        const bool constant = is_constant(earned.deviation(), std::fmin(own, size));
        if constexpr (requires { estimate(r, a, constant); })
            estimate(r, a, constant);
        else
            estimate(r, a);
        bool same = true;
        for (const double v : a) same = same && v == a[0];
        tally.filled += 1;
        tally.constant += same || constant;
    }
    value.assign(value.size(), 0.0);
    for (std::size_t k = 0; k < rows; ++k) value[order[k]] = advantage[k];
}

/// An estimator that compares the total rewards of a group's rows, as in for_each_ordered_group, from end to end.
template <class T, class F>
advantage_stats estimate_by_order(const advantage_terms<T>& terms, workspace& work, const ragged_view<T>& advantage,
                                  const char* function, F&& estimate) {
    check_advantage_terms(terms, advantage, function);
    center_rewards(terms, advantage.rows(), false, work);
    work.d.resize(work.b.size());
    for (std::size_t g = 0; g < work.b.size(); ++g) work.d[g] = work.b[g];
    for (std::size_t i = 0; i < work.c.size(); ++i) work.a[i] = work.c[i];
    group_tally tally;
    for_each_ordered_group(terms.group, work, tally, estimate, span_of(work.d));
    return finish_rows(span_of(work.a), terms.mask, advantage, tally.share());
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
