#pragma once
#include <cmath>

#include "rlgaf/policy_gradient/ratio_bounds.hpp"
#include "rlgaf/policy_gradient/token_factor.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Group sequence policy optimisation with an advantage a token: all tokens of a row share the row's ratio.
/// Formula: s_i = exp(mean of log_prob - old_log_prob over the row's unmasked tokens);
///          s_it = sg(s_i) exp(log_prob_it - sg(log_prob_it)); sg: held constant;
///          L = sum of w_i f_it max(-A_it s_it, -A_it clip(s_it, 1 - clip_low, 1 + clip_high)) over unmasked tokens.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A s where nothing is clipped, 0 where it is. Constants: all but log_prob.
/// Units:   nats. The mean is held within +-20 (verl: at most 10); outside, s is constant and has no gradient.
/// At kinks: s equal to a bound counts as not clipped. A = 0: no loss, no gradient.
/// Degenerate: a row without an unmasked token adds nothing.
/// Stats:   ratio_max and kl_old are of single tokens, as in ppo_clip.
/// Errors:  shape_error; option_error. No allocation, two passes.
/// Needs:   old_log_prob at the same temperature as log_prob. With sequence-mean weights and an advantage and factor
///          that are constant along the row it is GSPO, gradient for gradient. verl calls this one gspo.
/// Source:  Zheng et al. 2025, arXiv 2507.18071, section 4.3.
struct gspo_token {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 3e-4;   ///< in [0, 1)
    double clip_high = 4e-4;  ///< >= 0

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "gspo_token", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "gspo_token", "clip_high", "0 or positive", clip_high);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "gspo_token");
        detail::check_same_shape(terms.log_prob, terms.advantage, "gspo_token", "terms.advantage");
        detail::check_same_shape(terms.log_prob, terms.old_log_prob, "gspo_token", "terms.old_log_prob");
        policy_loss_stats stats;
        for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
            const double mean = detail::sum_log_ratio(terms.log_prob, terms.old_log_prob, terms.mask, b).mean();
            const double s = std::exp(clamp_log_ratio(mean)), alive = log_ratio_saturated(mean) ? 0 : 1;
            const auto gain = detail::hold_ratio(s, 0.0, detail::ratio_bound<double>(1 + clip_high));
            const auto loss = detail::hold_ratio(s, 1 - clip_low, detail::ratio_bound<double>(infinity));
            const T gain_value = static_cast<T>(gain.value), gain_slope = static_cast<T>(gain.free * alive);
            const T loss_value = static_cast<T>(loss.value), loss_slope = static_cast<T>(loss.free * alive);
            const T above = static_cast<T>(gain.above), below = static_cast<T>(loss.below);
            stats.merge(detail::token_loss<true>(
                terms.slice(b, 1), row_weight.subspan(b, 1), d_log_prob.slice(b, 1), "gspo_token", [=](const auto& x) {
                    const T gains = detail::choose(x.advantage > 0, T{1}, T{0});
                    const T loses = detail::choose(x.advantage < 0, T{1}, T{0});
                    return detail::token_output<T>{.value = gains * gain_value + loses * loss_value,
                                                   .slope = gains * gain_slope + loses * loss_slope,
                                                   .clips = detail::clip_code(loses * below, gains * above, T{0})};
                }));
        }
        return stats;
    }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();
};

}  // namespace rlgaf::inline RLGAF_ABI
