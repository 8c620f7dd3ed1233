#pragma once
#include <cmath>
#include <concepts>
#include <limits>
#include <span>

#include "rlgaf/core/logistic.hpp"

/// Scalar functions that neither overflow nor cancel, in natural logarithms.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {
/// log(x) within 2 epsilon, of a normal positive number; of others it has no meaning.
template <class T>
RLGAF_INLINE T log_of_normal(T x) noexcept {
    using bits_of = std::make_unsigned_t<lane_int<T>>;
    using limits = std::numeric_limits<T>;
    constexpr int mantissa = limits::digits - 1;
    constexpr bits_of bias = limits::max_exponent - 1, one = bits_of{1} << mantissa;
    constexpr bits_of root_half = __builtin_bit_cast(bits_of, T(0.70710678118654752));
    constexpr T offset = T{1} / limits::epsilon();  // 2^mantissa: n, moved up by the bias, becomes a number by its bits
    const auto bits = __builtin_bit_cast(bits_of, x);  // x = 2^n m, sqrt(1/2) <= m < sqrt(2)
    const bits_of power = (bits - root_half + bias * one) >> mantissa;
    const T n = __builtin_bit_cast(T, static_cast<bits_of>(power | __builtin_bit_cast(bits_of, offset))) -
                (offset + static_cast<T>(bias));
    const T m = __builtin_bit_cast(T, static_cast<bits_of>(bits - ((power - bias) << mantissa)));
    const T z = (m - 1) / (m + 1);
    constexpr T log_2_high = sizeof(T) == 4 ? T(0x1.62e4p-1) : T(0x1.62e42fefa3800p-1);
    constexpr T log_2_low = sizeof(T) == 4 ? T(0x1.7f7d1cp-20) : T(0x1.ef35793c76730p-45);
    return n * log_2_high + (2 * z + (twice_artanh_rest(z) + n * log_2_low));
}
}  // namespace detail

/// log(x) within 2 epsilon. No branches, no calls. Below the smallest normal number it is that one's, at 0 -infinity; of
/// what is negative it is NaN.
template <std::floating_point T>
RLGAF_INLINE T logarithm(T x) noexcept {
    using limits = std::numeric_limits<T>;
    const T log = detail::log_of_normal(detail::held_within(x, limits::min(), limits::max()));
    const T positive = detail::choose(x == limits::infinity(), limits::infinity(), log);
    return detail::choose(x > 0, positive, detail::choose(x == 0, -limits::infinity(), limits::quiet_NaN()));
}

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
