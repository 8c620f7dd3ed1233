#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "rlgaf/core/exponential.hpp"

/// Scalar functions that neither overflow nor cancel. All take and return `double`, natural logarithms. sigmoid, softplus
/// and log_sigmoid have no branches and call nothing, so that compilers turn loops over them into vector code.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// exp(-|x|), 0 beyond 708.
RLGAF_INLINE double exponential_decay(double x) noexcept {
    const double size = std::abs(x);
    return choose(size > 708, 0.0, exponential(-size));
}

/// log(1 + e) for e in [0, 1], relative error at most 2 epsilon: log(c) + 2 artanh(z), 1 + e = c (1 + z) / (1 - z), with
/// c = 1 or 1.5 so that |z| <= 1/7.
RLGAF_INLINE double log1p_of_share(double e) noexcept {
    const double above = choose(e > 0.25, 0.5, 0.0), z = (e - above) / (e + above + 2), square = z * z;
    double q = 1.0 / 17;
    q = q * square + 1.0 / 15;
    q = q * square + 1.0 / 13;
    q = q * square + 1.0 / 11;
    q = q * square + 1.0 / 9;
    q = q * square + 1.0 / 7;
    q = q * square + 1.0 / 5;
    q = q * square + 1.0 / 3;
    return choose(e > 0.25, 0.40546510810816438, 0.0) + (2 * z + 2 * z * (square * q));
}

}  // namespace detail

/// 1 / (1 + exp(-x)), exact to rounding for both signs.
RLGAF_INLINE double sigmoid(double x) noexcept {
    const double e = detail::exponential_decay(x);
    return detail::choose(x < 0, e, 1.0) / (1.0 + e);
}

/// log(1 + exp(x)); its derivative is sigmoid(x).
RLGAF_INLINE double softplus(double x) noexcept {
    return detail::choose(x < 0, 0.0, x) + detail::log1p_of_share(detail::exponential_decay(x));
}

/// softplus and its derivative for the price of one exponential.
struct softplus_pair {
    double value, slope;
};
RLGAF_INLINE softplus_pair softplus_and_slope(double x) noexcept {
    const double e = detail::exponential_decay(x);
    return {detail::choose(x < 0, 0.0, x) + detail::log1p_of_share(e), detail::choose(x < 0, e, 1.0) / (1.0 + e)};
}

/// log(sigmoid(x)) = -softplus(-x); its derivative is sigmoid(-x).
RLGAF_INLINE double log_sigmoid(double x) noexcept { return -softplus(-x); }

/// exp(x) - 1 - x without cancellation near 0; never negative.
inline double expm1_minus_x(double x) noexcept {
    if (std::abs(x) < 1e-2) return x * x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24 + x * (1.0 / 120 + x / 720))));
    return std::expm1(x) - x;
}

/// log(sum exp(x)) over the span; -infinity for an empty one. NaN stays NaN, infinities mean themselves.
template <class T>
double log_sum_exp(std::span<const T> x) noexcept {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    double largest = -infinity;
    for (const T v : x) largest = std::fmax(largest, static_cast<double>(v));
    const double shift = std::abs(largest) < infinity ? largest : 0;
    double sum = 0;
    for (const T v : x) sum += std::exp(static_cast<double>(v) - shift);
    return shift + std::log(sum);
}

/// The log-ratio that is exponentiated: within [-20, 20], NaN stays NaN. Outside, ratios are constant and have no
/// gradient.
inline constexpr double log_ratio_limit = 20.0;
inline double clamp_log_ratio(double d) noexcept {
    return d > log_ratio_limit ? log_ratio_limit : d < -log_ratio_limit ? -log_ratio_limit : d;
}
inline bool log_ratio_saturated(double d) noexcept { return d > log_ratio_limit || d < -log_ratio_limit; }

}  // namespace rlgaf::inline RLGAF_ABI
