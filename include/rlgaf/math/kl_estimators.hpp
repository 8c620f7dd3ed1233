#pragma once
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Estimators of KL(policy || reference) from one sampled token. u = log_prob_reference - log_prob.
enum class kl_estimator {
    k1,  ///< -u: unbiased, signed. In the reward it gives the gradient of the sequence KL; as a loss its mean gradient
         ///< is 0.
    k2,  ///< u^2 / 2: as a loss its mean gradient is that of KL(policy || reference) for each token.
    k3   ///< exp(u) - 1 - u: unbiased, never negative; as a loss its mean gradient is that of KL(reference || policy).
};

struct kl_term {
    double value;
    double d_log_prob;
};

/// Value and derivative by log_prob, in nats.
/// Extremes: k3 is constant beyond u = 20 (no gradient there), so that one lost token cannot make an infinity.
/// Source: Schulman 2020, joschu.net/blog/kl-approx; gradients: Tang and Munos 2025, arXiv 2506.09477.
inline kl_term estimate_kl(kl_estimator estimator, double log_prob, double reference_log_prob) noexcept {
    const double u = reference_log_prob - log_prob;
    switch (estimator) {
        case kl_estimator::k1:
            return {-u, 1};
        case kl_estimator::k2:
            return {0.5 * u * u, -u};
        case kl_estimator::k3:
            break;
    }
    if (u > log_ratio_limit) return {expm1_minus_x(log_ratio_limit), 0};
    return {expm1_minus_x(u), -std::expm1(u)};
}

}  // namespace rlgaf::inline RLGAF_ABI
