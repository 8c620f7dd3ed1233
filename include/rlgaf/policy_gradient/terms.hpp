#pragma once
#include <cmath>

#include "rlgaf/core/reduce.hpp"
#include "rlgaf/core/token_map.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/math/rewards.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What an advantage estimator reads. All rows of the step.
template <class T>
struct advantage_terms {
    reward_view<T> reward;
    groups group;                               ///< which prompt each row answers
    mask_view mask{};                           ///< optional
    ragged_view<const T> value{};               ///< critic's value of the state before each token: gae, vtrace
    ragged_view<const T> log_prob{};            ///< of the policy that learns: vtrace
    ragged_view<const T> behaviour_log_prob{};  ///< of the policy that sampled: vtrace
    ragged_view<const T> score_norm{};          ///< squared norm of each token's score function: optimal_token_baseline
    std::span<const double> greedy_reward{};    ///< [B] what the greedy answer to the row's prompt earned: remax
    ragged_view<const T> action_value{};        ///< optional: value of each token where it was emitted: off_policy
};

struct advantage_stats {
    double mean = 0, deviation = 0;  ///< over unmasked tokens
    double constant_groups = 0;      ///< share of the groups whose rewards are all equal: they teach nothing
};

/// What a policy loss reads: [B, length] each, all of the same shape. Nothing here receives a gradient but log_prob
/// (and entropy, in the losses that say so).
template <class T>
struct policy_terms {
    ragged_view<const T> log_prob;
    ragged_view<const T> old_log_prob{};  ///< of the policy that the ratio is taken to
    ragged_view<const T> advantage{};
    mask_view mask{};                           ///< optional
    ragged_view<const T> reference_log_prob{};  ///< where a KL term needs it
    ragged_view<const T> token_factor{};        ///< optional: multiplies the policy term, never KL or entropy; no count
    ragged_view<const T> entropy{};             ///< where an entropy term needs it

    policy_terms slice(std::size_t first, std::size_t count) const {
        const auto cut = [&](const auto& v) { return v.empty() ? v : v.slice(first, count); };
        return {cut(log_prob),           cut(old_log_prob), cut(advantage), cut(mask),
                cut(reference_log_prob), cut(token_factor), cut(entropy)};
    }
};

/// Sums over tokens (ratio_max: the largest), so that the parts of a step add up. ratio_max and kl_old are 0 where
/// old_log_prob is not given.
struct policy_loss_stats {
    double loss = 0;                                             ///< the weighted sum
    double tokens = 0;                                           ///< unmasked ones
    double clipped_low = 0, clipped_high = 0, clipped_dual = 0;  ///< tokens without gradient because of a clip
    double ratio_max = 0;                                        ///< largest exp(log_prob - old_log_prob)
    double kl_old = 0;  ///< sum over tokens of the k3 estimate of KL(old || new)

    void merge(const policy_loss_stats& other) {
        loss += other.loss, tokens += other.tokens, kl_old += other.kl_old;
        clipped_low += other.clipped_low, clipped_high += other.clipped_high, clipped_dual += other.clipped_dual;
        ratio_max = other.ratio_max > ratio_max ? other.ratio_max : ratio_max;
    }
};

namespace detail {

template <class T, class G>
void check_policy_terms(const policy_terms<T>& terms, std::span<const double> row_weight,
                        const ragged_view<G>& gradient, const char* function) {
    check_size(row_weight.size(), terms.log_prob.rows(), function, "row_weight");
    check_same_shape(terms.log_prob, gradient, function, "gradient");
    check_same_shape_if_given(terms.log_prob, terms.mask, function, "terms.mask");
    check_same_shape_if_given(terms.log_prob, terms.token_factor, function, "terms.token_factor");
}

/// Fills the stats of finished advantages.
template <class T>
advantage_stats summarize(const ragged_view<T>& advantage, const mask_view& mask, double constant_groups) {
    const moments m = token_moments(ragged_view<const T>(advantage), mask);
    return {.mean = m.mean, .deviation = m.deviation(), .constant_groups = constant_groups};
}

/// Writes value[b] on every unmasked token of row b and 0 elsewhere.
template <class T>
void broadcast_rows(std::span<const double> value, const mask_view& mask, const ragged_view<T>& out) {
    for (std::size_t b = 0; b < out.rows(); ++b) {
        const auto row = out.row(b);
        const T v = static_cast<T>(value[b]);
        if (mask.empty()) {
            for (T& x : row) x = v;
        } else {
            const std::uint8_t* included = mask.data(b);
            for (std::size_t t = 0; t < row.size(); ++t) row[t] = included[t] != 0 ? v : T{0};
        }
    }
}

/// Writes f(0), f(1), ... on the unmasked tokens of row i, 0 on the others.
template <class T, class F>
void write_tokens(const ragged_view<T>& out, const mask_view& mask, std::size_t i, F&& f) {
    const auto row = out.row(i);
    if (mask.empty()) {
        for (std::size_t t = 0; t < row.size(); ++t) row[t] = static_cast<T>(f(t));
        return;
    }
    const std::uint8_t* const in = mask.data(i);
    std::size_t k = 0;
    for (std::size_t t = 0; t < row.size(); ++t) row[t] = in[t] != 0 ? static_cast<T>(f(k++)) : T{0};
}

/// What estimators that give every token of a row the same advantage end with: broadcast_rows, and the stats from the
/// rows.
template <class T>
advantage_stats finish_rows(std::span<const double> value, const mask_view& mask, const ragged_view<T>& out,
                            double constant_groups) {
    broadcast_rows(value, mask, out);
    advantage_stats stats{.constant_groups = constant_groups};
    double tokens = 0, squares = 0;
    const auto for_each_row = [&](auto&& f) {
        for (std::size_t b = 0; b < out.rows(); ++b)
            f(static_cast<double>(static_cast<T>(value[b])),
              static_cast<double>(mask.empty() ? out.length(b) : count_included(mask.data(b), out.length(b))));
    };
    for_each_row([&](double v, double n) { stats.mean += n * v, tokens += n; });
    if (tokens > 0) stats.mean /= tokens;
    for_each_row([&](double v, double n) { squares += n * (v - stats.mean) * (v - stats.mean); });
    stats.deviation = tokens > 1 ? std::sqrt(squares / (tokens - 1)) : 0;
    return stats;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
