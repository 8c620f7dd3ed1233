#pragma once
#include "rlgaf/policy_gradient/ratio_bounds.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// REINFORCE on samples of another policy: the policy gradient with truncated importance weights.
/// Formula: r = exp(log_prob - old_log_prob);  L = -sum of w_i f_it sg(min(r_it, cap)) A_it log_prob_it over unmasked
///          tokens; sg: held constant.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_log_prob += -w f min(r, cap) A: no token is dropped. Constants: all but the last factor of the formula.
/// Units:   nats. The log-ratio is held within +-20; outside, the weight is constant and the gradient stays.
///          The value moves with log_prob and is no measure of progress.
/// At kinks: none in the gradient. A = 0: no loss, no gradient.
/// Stats:   clipped_high counts tokens whose weight the cap holds; they keep their gradient.
/// Errors:  shape_error; option_error. No allocation, one pass.
/// Needs:   old_log_prob of the policy that sampled, at the same temperature as log_prob.
/// Source:  Williams 1992, Machine Learning 8; truncation: Ionides 2008, J. Comput. Graph. Stat. 17(2); verl's bypass mode
///          with loss_type=reinforce and token weights.
struct is_reinforce {
    using role = role::policy_loss;
    static constexpr bool row_separable = true;
    double cap = 2;  ///< >= 1, infinity for none; verl: 2

    void check() const { detail::check_option(cap >= 1, "is_reinforce", "cap", "1 or more", cap); }

    template <class T>
    policy_loss_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob) const {
        check();
        const T highest = detail::ratio_bound<T>(cap);
        return detail::token_loss<true>(terms, row_weight, d_log_prob, "is_reinforce", [=](const auto& x) {
            const auto r = detail::hold_ratio(x.ratio, T{0}, highest);
            return detail::token_output<T>{
                .value = r.value * x.log_prob, .slope = r.value, .clips = detail::clip_code(T{0}, r.above, T{0})};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
