#pragma once
#include "rlgaf/policy_gradient/mismatch.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class importance_level {
    token,     ///< q_t = exp(d_t), d = old_log_prob - behaviour_log_prob: little variance, some bias
    sequence,  ///< exp(sum of the row's d), the same on all its tokens: unbiased, much variance
    geometric  ///< exp(mean of the row's d), the same on all its tokens
};
enum class importance_rule {
    truncate,  ///< held within [low, high]
    mask       ///< 0 outside of [low, high]: what went that far off teaches nothing
};

struct importance_stats {
    double mean = 0, min = 0, max = 0;  ///< of the weights before batch_normalize, over tokens or (not `token`) rows
    double ess_fraction = 0;            ///< of the same
    double out_of_bounds = 0;           ///< share of the same that the rule truncated or masked
    sampling_mismatch mismatch;         ///< of the unchanged ratios
};

/// Corrects for a sampler that is not quite the policy that is trained, by weights on the policy term.
/// Formula: token_factor_it *= rule(q_it), q by `level`; with batch_normalize divided by the mean of all of them.
/// Shapes:  all [B, length]; multiplies into token_factor, masked slots are neither read nor written.
/// Units:   ratios policy / sampler. d_t, the sum and the mean are held within +-20 before exp.
/// At kinks: a ratio equal to a bound is inside.
/// Degenerate: no unmasked token: nothing happens; all weights 0: batch_normalize leaves them.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   old_log_prob evaluated by the trainer. Where a loss takes its ratio to behaviour_log_prob itself, this would
///          count it twice.
/// Source:  token, truncate: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"
///          (2 in verl); token, mask: IcePop 2025, arXiv 2510.18855 (0.5, 5); sequence, mask: TRL (0, 3). OpenRLHF's
///          seq-mask-tis is rejection{.low, .high} and then this with .high = infinity.
struct importance_weights {
    using role = role::token_factor;
    importance_level level = importance_level::token;
    importance_rule rule = importance_rule::truncate;
    double low = 0;                ///< >= 0
    double high = 2;               ///< > 0, >= low; infinity: no bound
    bool batch_normalize = false;  ///< weights have mean 1

    void check() const {
        detail::check_option(low >= 0, "importance_weights", "low", "0 or positive", low);
        detail::check_option(high > 0 && high >= low, "importance_weights", "high", "positive and at least .low", high);
    }

    template <class T>
    importance_stats operator()(const factor_terms<T>& terms, workspace&, const ragged_view<T>& token_factor) const {
        check();
        detail::check_same_shape(token_factor, terms.old_log_prob, "importance_weights", "terms.old_log_prob");
        detail::check_same_shape(token_factor, terms.behaviour_log_prob, "importance_weights",
                                 "terms.behaviour_log_prob");
        detail::check_same_shape_if_given(token_factor, terms.mask, "importance_weights", "terms.mask");
        const summary weight = summary_of([&](auto&& add) {
            for_each_ratio(terms, token_factor, [&](double ratio, auto...) { add(bounded(ratio)); });
        });
        const double scale = batch_normalize && weight.mean > 0 ? 1 / weight.mean : 1;
        double outside = 0;
        for_each_ratio(terms, token_factor, [&](double ratio, std::size_t b, std::size_t first, std::size_t last) {
            const auto factor = token_factor.row(b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = first; t < last; ++t)
                if (included[t]) factor[t] = static_cast<T>(static_cast<double>(factor[t]) * bounded(ratio) * scale);
            outside += ratio < low || ratio > high;
        });
        importance_stats stats{.mismatch = measure_mismatch(terms.old_log_prob, terms.behaviour_log_prob, terms.mask)};
        if (weight.count == 0) return stats;
        stats.mean = weight.mean, stats.min = weight.min, stats.max = weight.max;
        stats.ess_fraction = rlgaf::ess_fraction(weight);
        stats.out_of_bounds = outside / weight.count;
        return stats;
    }

private:
    double bounded(double ratio) const noexcept {
        if (rule == importance_rule::mask) return ratio < low || ratio > high ? 0 : ratio;
        return ratio < low ? low : ratio > high ? high : ratio;
    }
    /// Calls f(ratio, row, first, last) for every unmasked token, or once for every row that has one.
    template <class T, class F>
    void for_each_ratio(const factor_terms<T>& terms, const ragged_view<T>& shape, F&& f) const {
        for (std::size_t b = 0; b < shape.rows(); ++b) {
            const auto old = terms.old_log_prob.row(b), behaviour = terms.behaviour_log_prob.row(b);
            const included_tokens included(terms.mask, b);
            double sum = 0, tokens = 0;
            for (std::size_t t = 0; t < old.size(); ++t) {
                if (!included[t]) continue;
                const double d = static_cast<double>(old[t]) - static_cast<double>(behaviour[t]);
                if (level == importance_level::token) f(std::exp(clamp_log_ratio(d)), b, t, t + 1);
                sum += d, tokens += 1;
            }
            if (level == importance_level::token || tokens == 0) continue;
            const double d = level == importance_level::sequence ? sum : sum / tokens;
            f(std::exp(clamp_log_ratio(d)), b, std::size_t{0}, old.size());
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
