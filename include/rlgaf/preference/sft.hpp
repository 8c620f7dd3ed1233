#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/reduce.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class sft_kind {
    nll,  ///< maximum likelihood
    dft   ///< each token weighs its own probability, a constant: what the policy finds unlikely moves it little
};

struct sft_stats {
    double loss = 0;    ///< the weighted sum
    double tokens = 0;  ///< unmasked ones
};

/// Supervised fine-tuning: negative log-likelihood of demonstrations.
/// Formula: nll: L = -sum of w_i log_prob_it over unmasked tokens;
///          dft: L = -sum of w_i p_it log_prob_it, p = exp(log_prob) a constant.
/// Shapes:  log_prob, d_log_prob, mask [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w (nll), -w p (dft).
/// Units:   nats; with aggregation::token_mean, nats a token of the whole step. dft's value is no sign of progress.
/// Errors:  shape_error.
/// Source:  maximum likelihood; step-wide token mean as in TRL's and verl's SFT trainers;
///          dft: Wu et al. 2025, arXiv 2508.05629 (TRL loss_type="dft").
struct sft {
    static constexpr bool row_separable = true;
    sft_kind kind = sft_kind::nll;

    void check() const {}

    template <class T>
    sft_stats operator()(const ragged_view<const T>& log_prob, const mask_view& mask,
                         std::span<const double> row_weight, const ragged_view<T>& d_log_prob) const {
        detail::check_size(row_weight.size(), log_prob.rows(), "sft", "row_weight");
        detail::check_same_shape(log_prob, d_log_prob, "sft", "d_log_prob");
        detail::check_same_shape_if_given(log_prob, mask, "sft", "mask");
        const auto sums = kind == sft_kind::nll ? detail::map_tokens<1>(
                                                      d_log_prob, mask, row_weight,
                                                      [](T w, T l) {
                                                          return detail::token_term<1, T>{-w, {-w * l}};
                                                      },
                                                      log_prob)
                                                : detail::map_tokens<1>(
                                                      d_log_prob, mask, row_weight,
                                                      [](T w, T l) {
                                                          const T weighted = w * exponential(l);
                                                          return detail::token_term<1, T>{-weighted, {-weighted * l}};
                                                      },
                                                      log_prob);
        return {.loss = sums.sum[0], .tokens = sums.tokens};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
