#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "rlgaf/core/config.hpp"

/// Scalar functions that neither overflow nor cancel. All take and return `double`, natural logarithms.
namespace rlgaf::inline RLGAF_ABI {

/// 1 / (1 + exp(-x)), exact to rounding for both signs.
inline double sigmoid(double x) noexcept {
    const double e = std::exp(-std::abs(x));
    return (x >= 0 ? 1.0 : e) / (1.0 + e);
}

/// log(1 + exp(x)); its derivative is sigmoid(x).
inline double softplus(double x) noexcept { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

/// log(sigmoid(x)) = -softplus(-x); its derivative is sigmoid(-x).
inline double log_sigmoid(double x) noexcept { return -softplus(-x); }

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
