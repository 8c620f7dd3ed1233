#pragma once
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Which divergence from the reference a policy is held by. In a loss on pairs the log-ratio x of a row becomes
/// f'(exp x), f the divergence's generator: 0 at x = 0, of slope 1 there (js: 1/2).
enum class reference_divergence {
    reverse_kl,  ///< x: DPO's
    forward_kl,  ///< 1 - exp(-x)
    js,          ///< log 2 + log sigmoid(x): Jensen-Shannon
    alpha        ///< (exp((alpha - 1) x) - 1) / (alpha - 1): alpha = 1 is reverse_kl, 0 forward_kl
};

struct ratio_score {
    double value, slope;  ///< and its derivative by x
};

/// The score of a log-ratio. Exponents are held within +-20; outside, the score has no slope.
/// Source:  Wang et al. 2023, arXiv 2309.16240, table 1; TRL (f_divergence_type) leaves out the constants, which cancel
///          in losses that know the gap only, and holds alpha's exponent at 80, forward_kl's not at all.
inline ratio_score score_ratio(reference_divergence divergence, double alpha, double x) noexcept {
    const double power = divergence == reference_divergence::alpha ? alpha - 1 : -1;
    if (divergence == reference_divergence::reverse_kl || power == 0) return {x, 1};
    if (divergence == reference_divergence::js) return {0.69314718055994531 + log_sigmoid(x), sigmoid(-x)};
    const double held = clamp_log_ratio(power * x);
    return {std::expm1(held) / power, log_ratio_saturated(power * x) ? 0 : std::exp(held)};
}

}  // namespace rlgaf::inline RLGAF_ABI
