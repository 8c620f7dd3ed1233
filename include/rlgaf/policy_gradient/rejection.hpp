#pragma once
#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/policy_gradient/token_factor.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class rejection_level {
    token,          ///< each token by its own statistic
    sequence_sum,   ///< the row, by the sum over its tokens
    sequence_mean,  ///< the row, by the mean over its tokens
    sequence_max    ///< the row, if one of its tokens is out of bounds
};

/// Drops tokens or rows on which sampler and trainer disagree too much.
/// Formula: d = old_log_prob - behaviour_log_prob;  k1: kept where log(low) <= d <= log(high);
///          k2: d^2 / 2 <= high;   k3: exp(d) - 1 - d <= high.   Others: token_factor_it = 0.
/// Shapes:  all [B, length]; masked slots of token_factor are neither read nor written.
/// Units:   k1: bounds on the ratio policy / sampler (verl's act on sampler / policy: its "0.5_4" is .low = 0.25,
///          .high = 2 here); k2, k3: nats. k3 is constant beyond d = 20.
/// At kinks: a statistic equal to a bound is kept.
/// Errors:  shape_error; option_error. No allocation in steady state; work.a is overwritten.
/// Source:  verl, rollout_rs (decoupled_geo_rs: the defaults; decoupled_k3_rs: sequence_mean, k3, high = 0.01).
///          Unlike there, no count changes, and k2 and k3 have an upper bound only.
struct rejection {
    using role = role::token_factor;
    static constexpr bool compares_with_sampler = true;
    rejection_level level = rejection_level::sequence_mean;
    kl_estimator statistic = kl_estimator::k1;  ///< k1, k2 or k3
    double low = 0.999;                         ///< >= 0; k1 only
    double high = 1.001;                        ///< > 0; k1: >= low; infinity: no bound

    void check() const {
        detail::check_option(
            statistic == kl_estimator::k1 || statistic == kl_estimator::k2 || statistic == kl_estimator::k3,
            "rejection", "statistic", "k1, k2 or k3", static_cast<double>(statistic));
        detail::check_option(low >= 0, "rejection", "low", "0 or positive", low);
        detail::check_option(high > 0 && (statistic != kl_estimator::k1 || high >= low), "rejection", "high",
                             "positive, with k1 at least .low", high);
    }

    template <class T>
    selection_stats operator()(const factor_terms<T>& terms, workspace& work,
                               const ragged_view<T>& token_factor) const {
        check();
        detail::check_same_shape(token_factor, terms.old_log_prob, "rejection", "terms.old_log_prob");
        detail::check_same_shape(token_factor, terms.behaviour_log_prob, "rejection", "terms.behaviour_log_prob");
        detail::check_same_shape_if_given(token_factor, terms.mask, "rejection", "terms.mask");
        const bool signed_ratio = statistic == kl_estimator::k1;
        const double lowest = signed_ratio ? std::log(low) : 0, highest = signed_ratio ? std::log(high) : high;
        const auto outside = [&](double x) { return !(x >= lowest && x <= highest); };
        const auto of_token = [&](std::size_t b, std::size_t t) {
            const double policy = static_cast<double>(terms.old_log_prob.row(b)[t]);
            // of KL(sampler || policy): the tokens come from the sampler
            const double k =
                estimate_kl(statistic, static_cast<double>(terms.behaviour_log_prob.row(b)[t]), policy).value;
            return signed_ratio ? -k : k;
        };
        std::vector<double>& row_out = work.a;
        row_out.assign(token_factor.rows(), 0.0);
        for (std::size_t b = 0; b < token_factor.rows() && level != rejection_level::token; ++b) {
            const included_tokens included(terms.mask, b);
            double sum = 0, tokens = 0, out = 0;
            for (std::size_t t = 0; t < token_factor.length(b); ++t) {
                if (!included[t]) continue;
                const double x = of_token(b, t);
                sum += x, tokens += 1, out += outside(x);
            }
            row_out[b] = level == rejection_level::sequence_sum    ? outside(sum)
                         : level == rejection_level::sequence_mean ? outside(sum / tokens)
                                                                   : out > 0;
        }
        return detail::drop_tokens(terms.mask, token_factor, [&](std::size_t b, std::size_t t) {
            return level == rejection_level::token ? outside(of_token(b, t)) : row_out[b] > 0;
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
