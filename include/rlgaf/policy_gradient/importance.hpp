#pragma once
#include "rlgaf/policy_gradient/mismatch.hpp"
#include "rlgaf/policy_gradient/ratio_bounds.hpp"

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
    static constexpr bool is_importance = true, compares_with_sampler = true;
    importance_level level = importance_level::token;
    importance_rule rule = importance_rule::truncate;
    double low = 0;                ///< >= 0
    double high = 2;               ///< > 0, >= low; infinity: no bound
    bool batch_normalize = false;  ///< weights have mean 1

    void check() const {
        detail::check_option(low >= 0 && low < std::numeric_limits<double>::infinity(), "importance_weights", "low",
                             "finite, 0 or positive", low);
        detail::check_option(high > 0 && high >= low, "importance_weights", "high", "positive and at least .low", high);
    }

    template <class T>
    importance_stats operator()(const factor_terms<T>& terms, workspace&, const ragged_view<T>& token_factor) const {
        check();
        detail::check_same_shape(token_factor, terms.old_log_prob, "importance_weights", "terms.old_log_prob");
        detail::check_same_shape(token_factor, terms.behaviour_log_prob, "importance_weights",
                                 "terms.behaviour_log_prob");
        detail::check_same_shape_if_given(token_factor, terms.mask, "importance_weights", "terms.mask");
        importance_stats stats;
        weights all;
        if (level == importance_level::token) {
            stats.mismatch =
                detail::measure_ratios(terms.old_log_prob, terms.behaviour_log_prob, terms.mask,
                                       [&](std::size_t b, std::size_t first, std::size_t n, const T* ratio) {
                                           T weight[detail::block_tokens];
                                           const auto factor = token_factor.row(b).subspan(first, n);
                                           if (terms.mask.empty()) {
                                               weigh(ratio, n, weight, all);
                                               for (std::size_t i = 0; i < n; ++i) factor[i] *= weight[i];
                                           } else {
                                               const std::uint8_t* const in = terms.mask.data(b) + first;
                                               weigh(ratio, detail::count_included(in, n), weight, all);
                                               for (std::size_t i = 0, k = 0; i < n; ++i)
                                                   if (in[i]) factor[i] *= weight[k++];
                                           }
                                       });
        } else {
            stats.mismatch = measure_mismatch(terms.old_log_prob, terms.behaviour_log_prob, terms.mask);
            for (std::size_t b = 0; b < token_factor.rows(); ++b) {
                const auto d = detail::sum_log_ratio(terms.old_log_prob, terms.behaviour_log_prob, terms.mask, b);
                const double x = level == importance_level::sequence ? d.sum : d.mean();
                double ratio = std::exp(clamp_log_ratio(x)), weight;
                weigh(&ratio, d.tokens > 0 ? 1 : 0, &weight, all);
                if (d.tokens > 0) multiply(token_factor.slice(b, 1), row_mask(terms.mask, b), weight);
            }
        }
        if (all.count == 0) return stats;
        const double sum = all.sum.total(), squares = all.squares.total();
        stats.mean = sum / all.count, stats.min = all.least, stats.max = all.most;
        stats.ess_fraction = squares > 0 ? sum * sum / (all.count * squares) : squares;  // NaN shows
        stats.out_of_bounds = all.outside / all.count;
        if (batch_normalize && stats.mean > 0) multiply(token_factor, terms.mask, 1 / stats.mean);
        return stats;
    }

private:
    /// What the stats are made of.
    struct weights {
        detail::lane_sum sum, squares;
        double outside = 0, count = 0, least = std::numeric_limits<double>::infinity(), most = 0;
    };

    /// weight = rule(ratio).
    template <class T>
    void weigh(const T* ratio, std::size_t n, T* weight, weights& all) const {
        if (n == 0) return;
        const T lowest = detail::ratio_bound<T>(low), highest = detail::ratio_bound<T>(high);
        const T truncates = rule == importance_rule::truncate ? T{1} : T{0};
        T square[detail::block_tokens];
        detail::lane_int<T> outside = 0;
        auto least = detail::ordered_bits(std::numeric_limits<T>::infinity()), most = detail::ordered_bits(T{0});
        for (std::size_t i = 0; i < n; ++i) {
            const detail::held_ratio<T> r = detail::hold_ratio(ratio[i], lowest, highest);
            weight[i] = r.free + truncates * (r.value - r.free);
            square[i] = weight[i] * weight[i];
            outside += static_cast<detail::lane_int<T>>(r.below + r.above);
            const auto bits = detail::ordered_bits(weight[i]);
            least = bits < least ? bits : least, most = bits > most ? bits : most;
        }
        all.sum.add(weight, n), all.squares.add(square, n);
        all.outside += static_cast<double>(outside), all.count += static_cast<double>(n);
        all.least = std::fmin(all.least, static_cast<double>(__builtin_bit_cast(T, least)));
        all.most = std::fmax(all.most, static_cast<double>(__builtin_bit_cast(T, most)));
    }
    template <class T>
    static void multiply(const ragged_view<T>& factor, const mask_view& mask, double by) {
        for (std::size_t b = 0; b < factor.rows(); ++b) {
            const auto row = factor.row(b);
            const included_tokens included(mask, b);
            for (std::size_t t = 0; t < row.size(); ++t)
                row[t] = included[t] ? static_cast<T>(static_cast<double>(row[t]) * by) : row[t];
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
