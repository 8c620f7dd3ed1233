#pragma once
#include "rlgaf/policy_gradient/ratio_bounds.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Clipped importance-sampling policy optimisation: the weight is clipped, never the token's gradient.
/// Formula: r = exp(log_prob - old_log_prob);
///          L = -sum of w_i f_it sg(clip(r_it, lowest, highest)) A_it log_prob_it over unmasked tokens; sg: held constant.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f clip(r, lowest, highest) A: no token is dropped. Constants: all but the formula's last
///          factor.
/// Units:   nats. The log-ratio is held within +-20; outside, the weight is constant and the gradient stays (a clamp
///          inside autograd would keep it too: the weight is detached).
///          The value moves with log_prob and is no measure of progress.
/// At kinks: none in the gradient. A = 0: no loss, no gradient.
/// Stats:   clipped_low, clipped_high count tokens whose weight a bound holds; they keep their gradient.
/// Errors:  shape_error; option_error. No allocation, one pass.
/// Needs:   old_log_prob at the same temperature as log_prob; token-mean weights in the papers.
/// Bounds:  of the ratio itself, with 1 between them. TRL, ScaleRL: highest = epsilon_high = 5, lowest = 0 (in TRL an
///          unset epsilon_high caps at 0.2); verl: 1 - clip_ratio_low, 1 + clip_ratio_high.
/// Source:  MiniMax 2025 (MiniMax-M1), arXiv 2506.13585, equations 4 and 5; Khatri et al. 2025 (ScaleRL), arXiv 2510.13786.
struct cispo {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double lowest = 0;   ///< in [0, 1]; verl: 0.8
    double highest = 5;  ///< >= 1, infinity for none; ScaleRL: 5, verl: 1.2

    void check() const {
        detail::check_option(lowest >= 0 && lowest <= 1, "cispo", "lowest", "in [0, 1]", lowest);
        detail::check_option(highest >= 1, "cispo", "highest", "1 or more (the bound of the ratio itself)", highest);
    }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        const T low = static_cast<T>(lowest), high = detail::ratio_bound<T>(highest);
        return detail::token_loss<true>(terms, row_weight, d_log_prob, "cispo", [=](const auto& x) {
            const auto r = detail::hold_ratio(x.ratio, low, high);
            return detail::token_output<T>{
                .value = r.value * x.log_prob, .slope = r.value, .clips = detail::clip_code(r.below, r.above, T{0})};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
