#pragma once
#include <cmath>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/math/select.hpp"
#include "rlgaf/policy_gradient/token_factor.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Drops what should be unlearnt but is hardly the policy's any more: tokens of negative advantage in rows that have
/// become too unlikely. Pushing those down further is where off-policy training breaks.
/// Formula: token_factor_it = 0 where A_it < 0 and mean over the row of (behaviour_log_prob - log_prob) > threshold.
/// Shapes:  all [B, length]; masked slots are neither read nor written.
/// Units:   nats per token.
/// At kinks: a row at the threshold is kept.
/// Errors:  shape_error; option_error. No allocation in steady state; work.a is overwritten.
/// Needs:   log_prob as it is now: call it again for every optimiser step.
/// Source:  DeepSeek-AI 2025 (DeepSeek-V3.2), arXiv 2512.02556 (off-policy sequence masking); TRL: off_policy_mask_threshold.
struct off_policy_mask {
    using role = role::token_factor;
    static constexpr bool every_step = true;  ///< it reads the log-probs of the moment
    double threshold = 0.5;                   ///< nats, >= 0

    void check() const {
        detail::check_option(threshold >= 0, "off_policy_mask", "threshold", "0 or positive nats", threshold);
    }

    template <class T>
    selection_stats operator()(const factor_terms<T>& terms, workspace& work,
                               const ragged_view<T>& token_factor) const {
        check();
        detail::check_same_shape(token_factor, terms.log_prob, "off_policy_mask", "terms.log_prob");
        detail::check_same_shape(token_factor, terms.behaviour_log_prob, "off_policy_mask", "terms.behaviour_log_prob");
        detail::check_same_shape(token_factor, terms.advantage, "off_policy_mask", "terms.advantage");
        detail::check_same_shape_if_given(token_factor, terms.mask, "off_policy_mask", "terms.mask");
        work.a.resize(token_factor.rows());
        for (std::size_t b = 0; b < token_factor.rows(); ++b)
            work.a[b] = detail::sum_log_ratio(terms.behaviour_log_prob, terms.log_prob, terms.mask, b).mean();
        return detail::drop_tokens(terms.mask, token_factor, [&](std::size_t b, std::size_t t) {
            return work.a[b] > threshold && terms.advantage.row(b)[t] < 0;
        });
    }
};

/// Learns from the tokens only at which the policy was undecided: the forks, not what follows from them.
/// Formula: token_factor_it = 0 where entropy_it is below the (1 - keep) quantile of all unmasked tokens of the step.
/// Shapes:  all [B, length]; masked slots are neither read nor written.
/// Units:   nats; the order alone counts.
/// At kinks: tokens that tie with the last one kept are kept too, whatever the order of the rows (keep is a lower bound
///          on the share); equal entropies drop nothing.
/// Errors:  shape_error; option_error; numeric_error for an entropy that is not finite. No allocation in steady state;
///          work.a is overwritten.
/// Needs:   all rows of the step at once: a quantile of a micro-batch is another one.
/// Source:  Wang et al. 2025, arXiv 2506.01939 (keep 0.2); TRL: top_entropy_quantile (1: off).
struct high_entropy_mask {
    using role = role::token_factor;
    static constexpr bool needs_entropy = true;
    double keep = 0.2;  ///< share, in (0, 1]

    void check() const { detail::check_option(keep > 0 && keep <= 1, "high_entropy_mask", "keep", "in (0, 1]", keep); }

    template <class T>
    selection_stats operator()(const factor_terms<T>& terms, workspace& work,
                               const ragged_view<T>& token_factor) const {
        check();
        detail::check_same_shape(token_factor, terms.entropy, "high_entropy_mask", "terms.entropy");
        detail::check_same_shape_if_given(token_factor, terms.mask, "high_entropy_mask", "terms.mask");
        detail::check_finite(terms.entropy, terms.mask, "high_entropy_mask", "terms.entropy");
        const auto entropy = [&](std::size_t b, std::size_t t) { return static_cast<double>(terms.entropy.row(b)[t]); };
        work.a.clear();
        for_each_token(token_factor, terms.mask,
                       [&](std::size_t b, std::size_t t) { work.a.push_back(entropy(b, t)); });
        double least = 0;
        if (!work.a.empty()) {
            const double rank = (1 - keep) * static_cast<double>(work.a.size() - 1);
            least = kth_smallest(detail::span_of(work.a), static_cast<std::size_t>(std::ceil(rank - 1e-9 * rank)));
        }
        return detail::drop_tokens(terms.mask, token_factor,
                                   [&](std::size_t b, std::size_t t) { return entropy(b, t) < least; });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
