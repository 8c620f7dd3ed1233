#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Estimators of KL(policy || reference) from one sampled token. u = log_prob_reference - log_prob.
enum class kl_estimator {
    k1,       ///< -u: unbiased, signed. In the reward it gives the gradient of the sequence KL; as a loss its mean
              ///< gradient is 0.
    k2,       ///< u^2 / 2: as a loss its mean gradient is that of KL(policy || reference) for each token.
    k3,       ///< exp(u) - 1 - u: unbiased, never negative; as a loss its mean gradient is that of KL(reference ||
              ///< policy).
    abs,      ///< |u|: bounded gradient; estimates no divergence.
    k1_plus,  ///< value of k1, derivative of k2 (straight through): an unbiased number to log, k2 to learn from.
    k3_plus   ///< value of k3, derivative of k2.
};

template <class T>
struct kl_term {
    T value;
    T d_log_prob;
};

/// Calls f(kl) with the estimator as a formula without branches: kl(T u) gives kl_term<T>.
template <class F>
decltype(auto) with_kl_estimator(kl_estimator estimator, F&& f) {
    constexpr auto k3 = []<class T>(T u) {
        const T limit = static_cast<T>(log_ratio_limit);
        const T far = detail::choose(u > limit, T{1}, T{0}), held = detail::choose(u > limit, limit, u);
        return kl_term<T>{exponential_and_excess(held).minus_1_minus_x, -exponential_minus_1(held) * (1 - far)};
    };
    switch (estimator) {
        case kl_estimator::k1:
            return f([]<class T>(T u) { return kl_term<T>{-u, T{1}}; });
        case kl_estimator::k2:
            return f([]<class T>(T u) { return kl_term<T>{T(0.5) * u * u, -u}; });
        case kl_estimator::abs:
            return f([]<class T>(T u) {
                const T above = u > 0 ? T{1} : T{0}, below = u < 0 ? T{1} : T{0};
                return kl_term<T>{u * (above - below), below - above + (u == u ? T{0} : u)};  // NaN shows
            });
        case kl_estimator::k1_plus:
            return f([]<class T>(T u) { return kl_term<T>{-u, -u}; });
        case kl_estimator::k3_plus:
            return f([k3]<class T>(T u) { return kl_term<T>{k3(u).value, -u}; });
        case kl_estimator::k3:
            break;
    }
    return f(k3);
}

/// Value and derivative by log_prob, in nats. In the reward only the value counts: there k1_plus is k1.
/// Extremes: k3 is constant beyond u = 20 (no gradient there), so that one lost token cannot make an infinity; k3_plus
///           keeps k2's gradient. verl clamps k3 at 10, where it loses the gradient beyond u = 2.61.
/// At kinks: abs has no gradient at u = 0.
/// Source: Schulman 2020, joschu.net/blog/kl-approx; gradients: Tang and Munos 2025, arXiv 2506.09477; straight through:
///         "k1+" and "k3+" of verl, whose dispatcher refused them before 0.9.
inline kl_term<double> estimate_kl(kl_estimator estimator, double log_prob, double reference_log_prob) noexcept {
    return with_kl_estimator(estimator, [&](auto&& kl) { return kl(reference_log_prob - log_prob); });
}

}  // namespace rlgaf::inline RLGAF_ABI
