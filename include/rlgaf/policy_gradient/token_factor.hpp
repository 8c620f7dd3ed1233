#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/reduce.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What the components read that multiply into policy_terms::token_factor: [B, length] each. All rows of the step.
/// They touch no count: a token with factor 0 still counts in every weight, and KL and entropy still act on it
/// (TRL likewise; verl takes rejected tokens out of its mask, which changes the denominators of the others).
template <class T>
struct factor_terms {
    ragged_view<const T> log_prob{};            ///< of the policy that learns, now: off_policy_mask
    ragged_view<const T> old_log_prob{};        ///< as the trainer evaluates the policy that sampled
    ragged_view<const T> behaviour_log_prob{};  ///< as the sampler reported it
    ragged_view<const T> advantage{};           ///< off_policy_mask
    ragged_view<const T> entropy{};             ///< high_entropy_mask
    mask_view mask{};                           ///< optional
};

/// Counts over unmasked tokens and the rows that have one, so that parts add up.
struct selection_stats {
    double tokens = 0, dropped_tokens = 0;
    double rows = 0, dropped_rows = 0;  ///< dropped: rows that lost a token

    double dropped_share() const noexcept { return tokens > 0 ? dropped_tokens / tokens : 0; }
    void merge(const selection_stats& other) {
        tokens += other.tokens, dropped_tokens += other.dropped_tokens;
        rows += other.rows, dropped_rows += other.dropped_rows;
    }
};

namespace detail {

/// Sets the factor of unmasked tokens to 0 where drop(row, token); what is there is not read.
template <class T, class Drop>
selection_stats drop_tokens(const mask_view& mask, const ragged_view<T>& token_factor, Drop&& drop) {
    selection_stats stats;
    for (std::size_t b = 0; b < token_factor.rows(); ++b) {
        const auto factor = token_factor.row(b);
        const included_tokens included(mask, b);
        double tokens = 0, dropped = 0;
        for (std::size_t t = 0; t < factor.size(); ++t) {
            if (!included[t]) continue;
            tokens += 1;
            if (!drop(b, t)) continue;
            factor[t] = 0;
            dropped += 1;
        }
        stats.tokens += tokens, stats.dropped_tokens += dropped;
        stats.rows += tokens > 0, stats.dropped_rows += dropped > 0;
    }
    return stats;
}

/// Log-ratios x - y of one row: their sum, and how many there are.
struct row_log_ratio {
    double sum = 0, tokens = 0;
    double mean() const noexcept { return tokens > 0 ? sum / tokens : 0; }
};
template <class T>
row_log_ratio sum_log_ratio(const ragged_view<const T>& x, const ragged_view<const T>& y, const mask_view& mask,
                            std::size_t b) noexcept {
    const auto sums = sum_tokens<1>(
        row_mask(mask, b), [](T first, T second) { return token_numbers<1, T>{{first - second}}; }, x.slice(b, 1),
        y.slice(b, 1));
    return {sums.sum[0], sums.tokens};
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
