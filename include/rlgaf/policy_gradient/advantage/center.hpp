#pragma once
#include "rlgaf/math/moments.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

template <class T, class G>
void check_advantage_terms(const advantage_terms<T>& terms, const ragged_view<G>& advantage, const char* function) {
    for (const outcome_reward& r : terms.reward.outcome)
        check_size(r.value.size(), advantage.rows(), function, "terms.reward.outcome");
    check_same_shape_if_given(advantage, terms.reward.token, function, "terms.reward.token");
    check_same_shape_if_given(advantage, terms.mask, function, "terms.mask");
    check_groups(terms.group, advantage.rows(), function);
}

/// The part that group estimators share. Every reward is centred on the rows of the group that it applies to, and the
/// centred rewards of a row are summed; the row's token rewards count as one more reward.
///
/// Writes work.a [B]: centred sum (NaN where no reward applies); work.b [groups]: sum of the reward means;
/// work.c [B]: the row's plain sum (NaN likewise); work.d and work.e are overwritten.
/// A reward that applies to a single row of a group centres to 0.
template <class T>
void center_rewards(const advantage_terms<T>& terms, std::size_t rows, bool leave_one_out, workspace& work) {
    std::vector<double>&sum = work.d, &count = work.e;
    work.a.assign(rows, 0.0);
    work.b.assign(terms.group.count, 0.0);
    work.c.assign(rows, 0.0);
    work.index.assign(rows, 0);
    const auto center = [&](auto&& value_of) {
        sum.assign(terms.group.count, 0.0);
        count.assign(terms.group.count, 0.0);
        for (std::size_t i = 0; i < rows; ++i) {
            const double r = value_of(i);
            if (is_nan(&r)) continue;
            sum[terms.group.id[i]] += r;
            count[terms.group.id[i]] += 1;
        }
        for (std::size_t g = 0; g < terms.group.count; ++g)
            if (count[g] > 0) {
                sum[g] /= count[g];
                work.b[g] += sum[g];
            }
        for (std::size_t i = 0; i < rows; ++i) {
            const double r = value_of(i);
            if (is_nan(&r)) continue;
            const std::size_t g = terms.group.id[i];
            const double scale = !leave_one_out ? 1 : count[g] > 1 ? count[g] / (count[g] - 1) : 0;
            work.a[i] += scale * centred(r, sum[g]);
            work.c[i] += r;
            work.index[i] = 1;
        }
    };
    for (const outcome_reward& reward : terms.reward.outcome) center([&](std::size_t i) { return reward.value[i]; });
    if (!terms.reward.token.empty())
        center([&](std::size_t i) { return masked_row_sum(terms.reward.token, terms.mask, i); });
    for (std::size_t i = 0; i < rows; ++i)
        if (!work.index[i]) work.a[i] = work.c[i] = std::numeric_limits<double>::quiet_NaN();
}

/// Rows without any applicable reward learn nothing.
inline void nan_to_zero(std::vector<double>& x) noexcept {
    for (double& v : x)
        if (is_nan(&v)) v = 0;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
