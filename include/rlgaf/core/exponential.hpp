#pragma once
#include <cstdint>
#include <type_traits>

#include "rlgaf/core/config.hpp"

/// Exponentials without branches or calls, so that compilers turn loops over them into vector code. In the storage
/// type: float in, float out.
namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// An integer as wide as T: comparisons of T and counts of them stay in the same vector lanes.
template <class T>
using lane_int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// The bits of a number that is 0 or positive: they are ordered as the numbers are, and NaN is above them all. Largest and
/// smallest numbers are found by them, because compilers turn that into vector code.
template <class T>
lane_int<T> ordered_bits(T x) noexcept {
    return __builtin_bit_cast(lane_int<T>, x);
}

/// first ? a : b by their bits. Where g++ sees a choice between a constant and a variable it computes everything that
/// follows for both, and vector code pays for both.
template <class T>
RLGAF_INLINE T choose(bool first, T a, T b) noexcept {
    using bits = lane_int<T>;
    const bits mask = -static_cast<bits>(first);
    return __builtin_bit_cast(T, (__builtin_bit_cast(bits, a) & mask) | (__builtin_bit_cast(bits, b) & ~mask));
}

/// x within [low, high]; NaN stays NaN.
template <class T>
RLGAF_INLINE T held_within(T x, T low, T high) noexcept {
    x = choose(x < low, low, x);
    return choose(x > high, high, x);
}

/// exp(x) = scale (1 + r + r^2 q) with scale = 2^n and |r| <= log(2) / 2.
template <class T>
struct split_exponential {
    T scale, r, q;
    RLGAF_INLINE T joined() const noexcept { return scale + scale * (r + r * r * q); }
    RLGAF_INLINE T minus_1() const noexcept { return (scale - 1) + scale * (r + r * r * q); }
};

/// x is within the normal numbers.
RLGAF_INLINE split_exponential<double> split_held(double x) noexcept {
    const double shifted = x * 0x1.71547652b82fep0 + 0x1.8p52;  // its last bits are n
    const double n = shifted - 0x1.8p52;
    const double r = (x - n * 0x1.62e42fefa3800p-1) - n * 0x1.ef35793c76730p-45;
    const double square = r * r;
    double odd = 1.0 / 6227020800, even = 1.0 / 479001600;  // two chains that do not wait for each other
    odd = odd * square + 1.0 / 39916800, even = even * square + 1.0 / 3628800;
    odd = odd * square + 1.0 / 362880, even = even * square + 1.0 / 40320;
    odd = odd * square + 1.0 / 5040, even = even * square + 1.0 / 720;
    odd = odd * square + 1.0 / 120, even = even * square + 1.0 / 24;
    odd = odd * square + 1.0 / 6, even = even * square + 0.5;
    const auto bits = __builtin_bit_cast(std::uint64_t, shifted);
    return {__builtin_bit_cast(double, (bits + 1023) << 52), r, odd * r + even};
}

RLGAF_INLINE split_exponential<float> split_held(float x) noexcept {
    const float shifted = x * 0x1.715476p0f + 0x1.8p23f;
    const float n = shifted - 0x1.8p23f;
    const float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float q = 1.0f / 5040;
    q = q * r + 1.0f / 720;
    q = q * r + 1.0f / 120;
    q = q * r + 1.0f / 24;
    q = q * r + 1.0f / 6;
    q = q * r + 0.5f;
    const auto bits = __builtin_bit_cast(std::uint32_t, shifted);
    return {__builtin_bit_cast(float, (bits + 127) << 23), r, q};
}

/// x is held within the normal numbers.
RLGAF_INLINE split_exponential<double> split(double x) noexcept { return split_held(held_within(x, -708.0, 709.0)); }
RLGAF_INLINE split_exponential<float> split(float x) noexcept { return split_held(held_within(x, -87.0f, 88.0f)); }

}  // namespace detail

/// exp(x). Relative error at most 1.1 epsilon. Below -708 (float: -87) the value at that bound, above 709
/// (88) likewise: never 0, never infinite. NaN stays NaN.
template <class T>
RLGAF_INLINE T exponential(T x) noexcept {
    return detail::split(x).joined();
}

/// exp(x) - 1 without cancellation near 0; the same bounds.
template <class T>
RLGAF_INLINE T exponential_minus_1(T x) noexcept {
    return detail::split(x).minus_1();
}

/// exp(x) and exp(x) - 1 - x, the second within 11 epsilon, near 0 as well, and never negative.
template <class T>
struct exponential_pair {
    T value, minus_1_minus_x;
};
template <class T>
RLGAF_INLINE exponential_pair<T> exponential_and_excess(T x) noexcept {
    const auto e = detail::split(x);
    const T square = e.scale * (e.r * e.r * e.q);
    return {e.scale + (e.scale * e.r + square), ((e.scale - 1) + (e.scale * e.r - x)) + square};
}

}  // namespace rlgaf::inline RLGAF_ABI
