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

/// The sum of row i's token rewards; NaN if it has no reward.
template <class T>
double token_sum(const advantage_terms<T>& terms, std::size_t i) {
    return has_reward(terms.reward, i) ? masked_row_sum(terms.reward.token, terms.mask, i)
                                       : std::numeric_limits<double>::quiet_NaN();
}

/// The part that group estimators share. Every reward is centred on the rows of the group that it applies to, and the
/// centred rewards of a row are summed; the row's token rewards count as one more reward.
///
/// Writes work.a [B]: centred sum (NaN where no reward applies); work.b [groups]: the scale that a spread of the group
/// is judged by, the largest |mean| of the rewards that vary in it, infinity where none does, so that a constant reward
/// of any size silences no other; work.c [B]: the row's plain sum (NaN likewise); work.d and work.e are overwritten.
/// A reward that applies to a single row of a group centres to 0.
template <class T>
void center_rewards(const advantage_terms<T>& terms, std::size_t rows, bool leave_one_out, workspace& work) {
    const std::size_t n = terms.group.count;
    work.d.resize(2 * n);
    work.e.resize(n + rows);
    double *const mean = work.d.data(), *const squares = mean + n, *const count = work.e.data(),
                  *const value = count + n;
    const std::uint32_t* const group = terms.group.id.data();
    work.a.assign(rows, 0.0);
    work.b.assign(n, -1.0);
    work.c.assign(rows, 0.0);
    work.index.assign(rows, 0);
    const auto center = [&](auto&& value_of) {
        for (std::size_t g = 0; g < n; ++g) mean[g] = squares[g] = count[g] = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const double r = value[i] = value_of(i);
            if (is_nan(&r)) continue;
            mean[group[i]] += r;
            count[group[i]] += 1;
        }
        for (std::size_t g = 0; g < n; ++g)
            if (count[g] > 0) mean[g] /= count[g];
        for (std::size_t i = 0; i < rows; ++i) {
            if (is_nan(value + i)) continue;
            const std::size_t g = group[i];
            const double scale = !leave_one_out ? 1 : count[g] > 1 ? count[g] / (count[g] - 1) : 0;
            const double apart = centred(value[i], mean[g]);
            squares[g] += apart * apart;
            work.a[i] += scale * apart;
            work.c[i] += value[i];
            work.index[i] = 1;
        }
        for (std::size_t g = 0; g < n; ++g)
            if (count[g] > 1 && !is_constant(std::sqrt(squares[g] / (count[g] - 1)), mean[g]))
                work.b[g] = std::fmax(work.b[g], std::abs(mean[g]));
    };
    for (const outcome_reward& reward : terms.reward.outcome) center([&](std::size_t i) { return reward.value[i]; });
    if (!terms.reward.token.empty())
        center([&](std::size_t i) { return token_sum(terms, i); });
    for (std::size_t i = 0; i < rows; ++i)
        if (!work.index[i]) work.a[i] = work.c[i] = std::numeric_limits<double>::quiet_NaN();
    for (double& size : work.b)
        if (size < 0) size = std::numeric_limits<double>::infinity();
}

/// Rows without any applicable reward learn nothing.
inline void nan_to_zero(std::vector<double>& x) noexcept {
    for (double& v : x)
        if (is_nan(&v)) v = 0;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
