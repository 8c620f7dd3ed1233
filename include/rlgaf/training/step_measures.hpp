#pragma once
#include <vector>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/math/rewards.hpp"
#include "rlgaf/math/summary.hpp"

/// What update_policy picks and measures around an optimiser step.
namespace rlgaf::inline RLGAF_ABI {

/// The weights of tokens in the policy term (policy_terms::token_factor), over unmasked tokens and all steps.
struct token_weight_stats {
    summary weight;      ///< none: no component made weights
    double dropped = 0;  ///< tokens with weight 0

    double dropped_share() const noexcept { return weight.count > 0 ? dropped / weight.count : 0; }
    template <class T>
    void add(const ragged_view<const T>& factor, const mask_view& mask) {
        weight.merge(token_summary(factor, mask));
        for_each_token(factor, mask, [&](std::size_t b, std::size_t t) { dropped += factor.row(b)[t] == 0; });
    }
};

namespace detail {

/// Rows `pick` of a per-token array.
template <class T>
void gather(const ragged_view<const T>& from, std::span<const std::size_t> pick, std::span<const std::uint32_t> lengths,
            ragged_buffer<T>& to) {
    to.assign(lengths);
    const ragged_view<T> view = to.view();
    for (std::size_t i = 0; i < pick.size(); ++i) {
        const auto source = from.row(pick[i]);
        const auto target = view.row(i);
        for (std::size_t k = 0; k < target.size(); ++k) target[k] = source[k];
    }
}

/// What the row earned, all outcomes and token rewards together; NaN if no reward applies to it.
template <class T>
double total_reward(const reward_view<T>& reward, const mask_view& mask, std::size_t b) {
    if (!has_reward(reward, b) || (reward.outcome.empty() && reward.token.empty()))
        return std::numeric_limits<double>::quiet_NaN();
    return (reward.outcome.empty() ? 0 : outcome_of(reward, b)) +
           (reward.token.empty() ? 0 : masked_row_sum(reward.token, mask, b));
}

/// The mask without the rows that no reward applies to. `mask` is that of the picked rows.
template <class T>
mask_view paid_tokens(const reward_view<T>& reward, std::span<const std::size_t> pick, const mask_view& mask,
                      std::span<const std::uint32_t> lengths, ragged_buffer<std::uint8_t>& paid) {
    paid.assign(lengths);
    for (std::size_t i = 0; i < pick.size(); ++i) {
        const bool applies = has_reward(reward, pick[i]);
        const included_tokens included(mask, i);
        const auto row = paid.view().row(i);
        for (std::size_t t = 0; t < row.size(); ++t) row[t] = applies && included[t];
    }
    return std::as_const(paid).view();
}

/// Mean over unmasked tokens of k3 of KL(old || now).
template <class T>
double mean_k3(const ragged_view<const T>& old, const ragged_view<const T>& now, const mask_view& mask) {
    return token_summary(now, mask,
                         [&](std::size_t b, std::size_t t) {
                             return estimate_kl(kl_estimator::k3, static_cast<double>(old.row(b)[t]),
                                                static_cast<double>(now.row(b)[t]))
                                 .value;
                         })
        .mean;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
