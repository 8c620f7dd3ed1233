#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// D_f(expert || policy) = E_policy[f(u)], u = expert / policy, bounded from below by
/// E_expert[g(s)] - E_policy[f*(g(s))] for any score s; f* is the convex conjugate of f, g keeps scores in its domain.
enum class divergence {
    kl,                 ///< f = u log u;        g = s;            f*(g) = exp(s - 1)
    reverse_kl,         ///< f = -log u;         g = -exp(-s);     f*(g) = s - 1
    pearson,            ///< f = (u - 1)^2;      g = s;            f*(g) = s^2 / 4 + s
    squared_hellinger,  ///< f = (sqrt u - 1)^2; g = 1 - exp(-s);  f*(g) = exp(s) - 1
    jensen_shannon,     ///< f = u log u - (u + 1) log((u + 1) / 2);  g and f*(g): gan's plus and minus log 2
    gan,                ///< f = u log u - (u + 1) log(u + 1);  g = -softplus(-s);  f*(g) = softplus(s)
    total_variation,    ///< f = |u - 1| / 2;    g = tanh(s) / 2;  f*(g) = g
    alpha  ///< f = (u^a - 1 - a (u - 1)) / (a (a - 1));  g = s where a > 1, else 1 / (1 - a) - softplus(-s);
           ///< f*(g) = (u^a - 1) / a, u = max(0, 1 + (a - 1) g)^(1 / (a - 1))
};

template <class T>
struct f_term {
    T value;
    T slope;  ///< by the score
};

namespace detail {

/// tanh, and its slope without cancellation.
template <class T>
RLGAF_INLINE f_term<T> hyperbolic_tangent(T s) noexcept {
    constexpr T limit = sizeof(T) == 4 ? T(87) : T(708);
    const T size = 2 * std::abs(s);
    const auto e = split_held(choose(size > limit, -limit, -size));
    const T decay = choose(size > limit, T{0}, e.joined()), share = 1 / (1 + decay);
    return {std::copysign(e.minus_1() * share, s), 4 * decay * share * share};
}

/// The logarithm of the ratio that a score of divergence::alpha claims, not held within any limits: from softplus(-s)
/// where a < 1, from s where a > 1.
template <class T>
RLGAF_INLINE T alpha_log_ratio_below(T a, T softplus_of_minus_s) noexcept {
    return logarithm((1 - a) * softplus_of_minus_s) / (a - 1);
}
template <class T>
RLGAF_INLINE T alpha_log_ratio_above(T a, T s) noexcept {
    const T share = 1 + (a - 1) * s;
    return logarithm(choose(share < 0, T{0}, share)) / (a - 1);
}

/// f*(g(s)) of divergence::alpha from the logarithm of the ratio and g'(s).
template <class T>
RLGAF_INLINE f_term<T> alpha_conjugate(T a, T log_u, T slope) noexcept {
    constexpr T limit = static_cast<T>(log_ratio_limit);
    const T held = held_within(log_u, -limit, limit);
    return {exponential_minus_1(a * held) / a,
            choose(held != log_u && log_u == log_u, T{0}, exponential(held) * slope)};
}

/// exp(sign s - shift), and the same minus 1. Where sign s is above log_ratio_limit they go on as straight lines, which
/// stay finite and still pull a score back; below minus the limit they are constant.
template <class T>
struct held_exponential {
    T value, minus_1;
    T slope;  ///< of both by s
};
template <class T>
RLGAF_INLINE held_exponential<T> exponential_within(T s, T sign, T shift = 0) noexcept {
    constexpr T limit = static_cast<T>(log_ratio_limit);
    const T up = sign * s, held = held_within(up, -limit, limit), x = held - shift;
    const T value = exponential(x), beyond = choose(up > limit, value * (up - limit), T{0});
    return {value + beyond, exponential_minus_1(x) + beyond, choose(up < -limit, T{0}, sign * value)};
}

}  // namespace detail

/// Calls f(activation, conjugate): two formulas that map a score to the f_term of g(s) and of f*(g(s)), without
/// branches. `alpha` is divergence::alpha's.
template <class T, class F>
decltype(auto) with_f_divergence(divergence kind, double alpha, F&& f) {
    constexpr auto identity = [](T s) { return f_term<T>{s, 1}; };
    switch (kind) {
        case divergence::kl:
            return f(identity, [](T s) {
                const auto e = detail::exponential_within<T>(s, 1, 1);
                return f_term<T>{e.value, e.slope};
            });
        case divergence::reverse_kl:
            return f(
                [](T s) {
                    const auto e = detail::exponential_within<T>(s, -1);
                    return f_term<T>{-e.value, -e.slope};
                },
                [](T s) {
                    return f_term<T>{s - 1, 1};
                });
        case divergence::pearson:
            return f(identity, [](T s) { return f_term<T>{s * s / 4 + s, s / 2 + 1}; });
        case divergence::squared_hellinger: {
            const auto by = [](int sign) {
                return [to = static_cast<T>(sign)](T s) {
                    const auto e = detail::exponential_within(s, to);
                    return f_term<T>{to * e.minus_1, to * e.slope};
                };
            };
            return f(by(-1), by(1));
        }
        case divergence::total_variation: {
            constexpr auto half = [](T s) {
                const auto t = detail::hyperbolic_tangent(s);
                return f_term<T>{t.value / 2, t.slope / 2};
            };
            return f(half, half);
        }
        case divergence::alpha: {
            const T a = static_cast<T>(alpha);
            if (alpha > 1)
                return f(identity,
                         [a](T s) { return detail::alpha_conjugate(a, detail::alpha_log_ratio_above(a, s), T{1}); });
            return f(
                [a](T s) {
                    const auto at = softplus_and_slope(-s);
                    return f_term<T>{1 / (1 - a) - at.value, at.slope};
                },
                [a](T s) {
                    const auto at = softplus_and_slope(-s);
                    return detail::alpha_conjugate(a, detail::alpha_log_ratio_below(a, at.value), at.slope);
                });
        }
        case divergence::jensen_shannon:
        case divergence::gan:
            break;
    }
    const auto logistic = [shift = static_cast<T>(kind == divergence::gan ? 0 : std::log(2.0))](int sign) {
        return [shift, to = static_cast<T>(sign)](T s) {
            const auto at = softplus_and_slope(to * s);
            return f_term<T>{to * (at.value - shift), at.slope};
        };
    };
    return f(logistic(-1), logistic(1));
}

}  // namespace rlgaf::inline RLGAF_ABI
