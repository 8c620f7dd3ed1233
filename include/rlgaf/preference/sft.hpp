#pragma once
#include "rlgaf/core/reduce.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct sft_stats {
    double loss = 0;    ///< the weighted sum
    double tokens = 0;  ///< unmasked ones
};

/// Supervised fine-tuning: negative log-likelihood of demonstrations.
/// Formula: L = -sum of w_i log_prob_it over unmasked tokens.
/// Shapes:  log_prob, d_log_prob, mask [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w.
/// Units:   nats; with aggregation::token_mean, nats a token of the whole step.
/// Errors:  shape_error.
/// Source:  maximum likelihood; step-wide token mean as in TRL's and verl's SFT trainers.
struct sft {
    static constexpr bool row_separable = true;

    void check() const {}

    template <class T>
    sft_stats operator()(const ragged_view<const T>& log_prob, const mask_view& mask,
                         std::span<const double> row_weight, const ragged_view<T>& d_log_prob) const {
        detail::check_size(row_weight.size(), log_prob.rows(), "sft", "row_weight");
        detail::check_same_shape(log_prob, d_log_prob, "sft", "d_log_prob");
        detail::check_same_shape_if_given(log_prob, mask, "sft", "mask");
        sft_stats stats;
        for_each_token(log_prob, mask, [&](std::size_t b, std::size_t t) {
            stats.loss -= row_weight[b] * static_cast<double>(log_prob.row(b)[t]);
            stats.tokens += 1;
            d_log_prob.row(b)[t] += static_cast<T>(-row_weight[b]);
        });
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
