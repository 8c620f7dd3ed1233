#pragma once
#include "rlgaf/policy_gradient/ratio_bounds.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// GRPO's clipped surrogate with one more bound, delta, on the ratio itself: a negative advantage cannot push a token
/// that became likely without limit.
/// Formula: r = exp(log_prob - old_log_prob);  L = sum of w_i f_it l_it over unmasked tokens,
///          l = -min(min(r, delta) A, clip(r, 1 - clip_low, 1 + clip_high) A), that is
///          A >= 0: -A min(r, 1 + clip_high, delta);   A < 0: -A min(max(r, 1 - clip_low), max(delta, 1 + clip_high)).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f A r where nothing is clipped, 0 where it is. Constants: all but log_prob.
/// Units:   nats. The log-ratio is held within +-20; outside, the ratio is constant and has no gradient (TRL: no limit).
/// At kinks: r equal to a bound counts as not clipped. A = 0: no loss, no gradient.
/// Stats:   clipped_dual: clipped by the bound for A < 0.
/// Errors:  shape_error; option_error. No allocation, one pass.
/// Needs:   old_log_prob at the same temperature as log_prob. With delta > 1 + clip_high it is ppo_clip with
///          dual_clip = delta.
/// Source:  Prime Intellect 2025 (INTELLECT-2), arXiv 2505.07291, two-sided GRPO clipping; TRL: delta.
struct two_sided_clip {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double clip_low = 0.2;   ///< in [0, 1)
    double clip_high = 0.2;  ///< >= 0
    double delta = 4;        ///< >= 1; INTELLECT-2: 4, above 1 + clip_high

    void check() const {
        detail::check_option(clip_low >= 0 && clip_low < 1, "two_sided_clip", "clip_low", "in [0, 1)", clip_low);
        detail::check_option(clip_high >= 0, "two_sided_clip", "clip_high", "0 or positive", clip_high);
        detail::check_option(delta >= 1, "two_sided_clip", "delta", "1 or more", delta);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        const double highest = 1 + clip_high;
        const T lowest = static_cast<T>(1 - clip_low);
        const T highest_gain = detail::ratio_bound<T>(delta < highest ? delta : highest);
        const T highest_loss = detail::ratio_bound<T>(delta < highest ? highest : delta);
        return detail::token_loss<true>(terms, row_weight, d_log_prob, "two_sided_clip", [=](const auto& x) {
            const T gains = detail::choose(x.advantage > 0, T{1}, T{0});
            const T loses = detail::choose(x.advantage < 0, T{1}, T{0});
            const auto r =
                detail::hold_ratio(x.ratio, loses * lowest, gains * highest_gain + (1 - gains) * highest_loss);
            return detail::token_output<T>{.value = r.value,
                                           .slope = r.free * x.alive,
                                           .clips = detail::clip_code(r.below, r.above * gains, r.above * loses)};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
