#pragma once
#include "rlgaf/policy_gradient/ratio_bounds.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// PPO's clipped surrogate, with separate bounds (clip-higher) and the dual clip for negative advantages.
/// Formula: r = exp(log_prob - old_log_prob);  L = sum of w_i f_it l_it over unmasked tokens,
///          A >= 0: l = -A min(r, 1 + clip_high);   A < 0: l = -A min(max(r, 1 - clip_low), dual_clip).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A r where nothing is clipped, 0 where it is. Constants: all but log_prob.
/// Units:   nats. The log-ratio is held within +-20; outside, the ratio is constant and has no gradient.
/// At kinks: r equal to a bound counts as not clipped.
/// Errors:  shape_error; option_error. No allocation, one pass.
/// Needs:   old_log_prob at the same temperature as log_prob.
/// Source:  Schulman et al. 2017, arXiv 1707.06347, equation 7; clip_high: Yu et al. 2025, arXiv 2503.14476; dual_clip:
///          Ye et al. 2019, arXiv 1912.09729, equation 5.
struct ppo_clip {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 0.2;    ///< in [0, 1)
    double clip_high = 0.28;  ///< >= 0; PPO: 0.2, DAPO: 0.28
    double dual_clip = 3;     ///< > 1 (verl: 3), or 0: off

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "ppo_clip", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "ppo_clip", "clip_high", "0 or positive", clip_high);
        detail::check_option(dual_clip == 0 || dual_clip > 1, "ppo_clip", "dual_clip", "above 1, or 0 for off",
                             dual_clip);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        const T lowest = static_cast<T>(1 - clip_low), highest = detail::ratio_bound<T>(1 + clip_high);
        const T ceiling = detail::ratio_bound<T>(dual_clip > 0 ? dual_clip : 1e9);
        return detail::token_loss<true>(terms, row_weight, d_log_prob, "ppo_clip", [=](const auto& x) {
            const T gains = detail::choose(x.advantage > 0, T{1}, T{0});
            const T loses = detail::choose(x.advantage < 0, T{1}, T{0});
            const auto r = detail::hold_ratio(x.ratio, loses * lowest, gains * highest + (1 - gains) * ceiling);
            return detail::token_output<T>{.value = r.value,
                                           .slope = r.free * x.alive,
                                           .clips = detail::clip_code(r.below, r.above * gains, r.above * loses)};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
