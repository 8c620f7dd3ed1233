#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "rlgaf/core/exponential.hpp"

/// Scalar functions that neither overflow nor cancel. All take and return `double`, natural logarithms. Those of the
/// logistic family and logarithm have no branches and call nothing: compilers turn loops over them into vector code.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// exp(-|x|), 0 beyond 708.
RLGAF_INLINE double exponential_decay(double x) noexcept {
    const double size = std::abs(x);
    return choose(size > 708, 0.0, split_held(choose(size > 708, -708.0, -size)).joined());
}

/// log(1 + e) for e in [0, 1], relative error at most 2 epsilon: log(c) + 2 artanh(z), 1 + e = c (1 + z) / (1 - z), with
/// c = 1 or 1.5 so that |z| <= 1/7.
RLGAF_INLINE double log1p_of_share(double e) noexcept {
    const double above = choose(e > 0.25, 0.5, 0.0), z = (e - above) / (e + above + 2), square = z * z;
    const double fourth = square * square;
    double odd = 1.0 / 17, even = 1.0 / 15;
    odd = odd * fourth + 1.0 / 13, even = even * fourth + 1.0 / 11;
    odd = odd * fourth + 1.0 / 9, even = even * fourth + 1.0 / 7;
    odd = odd * fourth + 1.0 / 5, even = even * fourth + 1.0 / 3;
    return choose(e > 0.25, 0.40546510810816438, 0.0) + (2 * z + 2 * z * (square * (odd * square + even)));
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

/// softplus(x), sigmoid(x) and sigmoid(-x) for the price of one exponential and two divisions.
struct softplus_pair {
    double value, slope;
    double rest;  ///< 1 - slope without cancellation
};
RLGAF_INLINE softplus_pair softplus_and_slope(double x) noexcept {
    const double e = detail::exponential_decay(x), large = 1 / (1 + e), small = e * large;
    return {detail::choose(x < 0, 0.0, x) + detail::log1p_of_share(e), detail::choose(x < 0, small, large),
            detail::choose(x < 0, large, small)};
}

/// log(sigmoid(x)) = -softplus(-x); its derivative is sigmoid(-x).
RLGAF_INLINE double log_sigmoid(double x) noexcept { return -softplus(-x); }

/// log(x) within 2 epsilon. No branches, no calls. Below the smallest normal number, 2.2e-308, it is that one's, at 0
/// -infinity; of what is negative it is NaN.
RLGAF_INLINE double logarithm(double x) noexcept {
    constexpr double infinity = std::numeric_limits<double>::infinity(), smallest = 0x1p-1022;
    constexpr std::uint64_t root_half = 0x3fe6a09e667f3bcd, one = std::uint64_t{1} << 52;
    const double held = detail::held_within(x, smallest, std::numeric_limits<double>::max());
    // x = 2^n m, sqrt(1/2) <= m < sqrt(2); n, moved up by 1023, becomes a double by its bits
    const auto bits = __builtin_bit_cast(std::uint64_t, held);
    const std::uint64_t power = (bits - root_half + 1023 * one) >> 52;
    const double n = __builtin_bit_cast(double, power | 0x4330000000000000) - (0x1p52 + 1023);
    const double m = __builtin_bit_cast(double, bits - ((power - 1023) << 52));
    const double z = (m - 1) / (m + 1), square = z * z;  // log m = 2 artanh(z), |z| < 0.172
    const double fourth = square * square;
    double odd = 1.0 / 21, even = 1.0 / 19;
    odd = odd * fourth + 1.0 / 17, even = even * fourth + 1.0 / 15;
    odd = odd * fourth + 1.0 / 13, even = even * fourth + 1.0 / 11;
    odd = odd * fourth + 1.0 / 9, even = even * fourth + 1.0 / 7;
    odd = odd * fourth + 1.0 / 5, even = even * fourth + 1.0 / 3;
    const double rest = 2 * z * (square * (odd * square + even)) + n * 0x1.ef35793c76730p-45;
    const double log = n * 0x1.62e42fefa3800p-1 + (2 * z + rest);
    const double positive = detail::choose(x == infinity, infinity, log);
    return detail::choose(x > 0, positive, detail::choose(x == 0, -infinity, std::numeric_limits<double>::quiet_NaN()));
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
