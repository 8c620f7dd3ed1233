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

struct f_term {
    double value;
    double slope;  ///< by the score
};

namespace detail {

/// tanh, and its slope without cancellation.
RLGAF_INLINE f_term hyperbolic_tangent(double s) noexcept {
    const double size = 2 * std::abs(s);
    const auto e = split_held(choose(size > 708, -708.0, -size));
    const double decay = choose(size > 708, 0.0, e.joined()), share = 1 / (1 + decay);
    return {std::copysign(e.minus_1() * share, s), 4 * decay * share * share};
}

/// The logarithm of the ratio that a score of divergence::alpha claims, not held within any limits: from softplus(-s)
/// where a < 1, from s where a > 1.
RLGAF_INLINE double alpha_log_ratio_below(double a, double softplus_of_minus_s) noexcept {
    return logarithm((1 - a) * softplus_of_minus_s) / (a - 1);
}
RLGAF_INLINE double alpha_log_ratio_above(double a, double s) noexcept {
    const double share = 1 + (a - 1) * s;
    return logarithm(choose(share < 0, 0.0, share)) / (a - 1);
}

/// f*(g(s)) of divergence::alpha from the logarithm of the ratio and g'(s).
RLGAF_INLINE f_term alpha_conjugate(double a, double log_u, double slope) noexcept {
    const double held = held_within(log_u, -log_ratio_limit, log_ratio_limit);
    return {(exponential(a * held) - 1) / a, choose(held != log_u && log_u == log_u, 0.0, exponential(held) * slope)};
}

/// exp(sign s), constant beyond |s| = log_ratio_limit; and exp(sign s) - 1.
struct held_exponential {
    double value, minus_1;
    double slope;  ///< of both by s
};
RLGAF_INLINE held_exponential exponential_within(double s, double sign, double shift = 0) noexcept {
    const double held = held_within(s, -log_ratio_limit, log_ratio_limit), x = sign * held - shift;
    const double value = exponential(x);
    return {value, exponential_minus_1(x), choose(held != s && s == s, 0.0, sign * value)};
}

}  // namespace detail

/// Calls f(activation, conjugate): two formulas that map a score to the f_term of g(s) and of f*(g(s)), without
/// branches. `a` is divergence::alpha's.
template <class F>
decltype(auto) with_f_divergence(divergence kind, double a, F&& f) {
    constexpr auto identity = [](double s) { return f_term{s, 1}; };
    switch (kind) {
        case divergence::kl:
            return f(identity, [](double s) {
                const detail::held_exponential e = detail::exponential_within(s, 1, 1);
                return f_term{e.value, e.slope};
            });
        case divergence::reverse_kl:
            return f(
                [](double s) {
                    const detail::held_exponential e = detail::exponential_within(s, -1);
                    return f_term{-e.value, -e.slope};
                },
                [](double s) {
                    return f_term{s - 1, 1};
                });
        case divergence::pearson:
            return f(identity, [](double s) { return f_term{s * s / 4 + s, s / 2 + 1}; });
        case divergence::squared_hellinger: {
            const auto by = [](double sign) {
                return [sign](double s) {
                    const detail::held_exponential e = detail::exponential_within(s, sign);
                    return f_term{sign * e.minus_1, sign * e.slope};
                };
            };
            return f(by(-1), by(1));
        }
        case divergence::total_variation: {
            constexpr auto half = [](double s) {
                const f_term t = detail::hyperbolic_tangent(s);
                return f_term{t.value / 2, t.slope / 2};
            };
            return f(half, half);
        }
        case divergence::alpha: {
            if (a > 1)
                return f(identity,
                         [a](double s) { return detail::alpha_conjugate(a, detail::alpha_log_ratio_above(a, s), 1); });
            return f(
                [a](double s) {
                    const softplus_pair at = softplus_and_slope(-s);
                    return f_term{1 / (1 - a) - at.value, at.slope};
                },
                [a](double s) {
                    const softplus_pair at = softplus_and_slope(-s);
                    return detail::alpha_conjugate(a, detail::alpha_log_ratio_below(a, at.value), at.slope);
                });
        }
        case divergence::jensen_shannon:
        case divergence::gan:
            break;
    }
    const auto logistic = [](double sign, double shift) {
        return [=](double s) {
            const softplus_pair at = softplus_and_slope(sign * s);
            return f_term{sign * (at.value - shift), at.slope};
        };
    };
    const double shift = kind == divergence::gan ? 0 : std::log(2.0);
    return f(logistic(-1, shift), logistic(1, shift));
}

}  // namespace rlgaf::inline RLGAF_ABI
