#pragma once
#include <cmath>
#include <concepts>

#include "rlgaf/core/exponential.hpp"

/// The logistic family, without overflow or cancellation, in natural logarithms; computed in the type of the argument, float
/// or double, without branches or calls, so that compilers turn loops over it into vector code.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// exp(-|x|), 0 beyond 708 (float: 87), where what split_held gives has no meaning.
template <class T>
RLGAF_INLINE T exponential_decay(T x) noexcept {
    constexpr T limit = sizeof(T) == 4 ? T(87) : T(708);
    const T size = std::abs(x);
    return choose(size > limit, T{0}, split_held(-size).joined());
}

/// 2 artanh(z) - 2 z for |z| < 0.172, to the rounding of log((1 + z) / (1 - z)) = 2 artanh(z).
template <class T>
RLGAF_INLINE T twice_artanh_rest(T z) noexcept {
    const T square = z * z, fourth = square * square;
    if constexpr (sizeof(T) == 4) {
        return 2 * z * (square * ((T(1) / 9 * fourth + T(1) / 5) * square + (T(1) / 7 * fourth + T(1) / 3)));
    } else {  // two chains that do not wait for each other
        T odd = T(1) / 21, even = T(1) / 19;
        odd = odd * fourth + T(1) / 17, even = even * fourth + T(1) / 15;
        odd = odd * fourth + T(1) / 13, even = even * fourth + T(1) / 11;
        odd = odd * fourth + T(1) / 9, even = even * fourth + T(1) / 7;
        odd = odd * fourth + T(1) / 5, even = even * fourth + T(1) / 3;
        return 2 * z * (square * (odd * square + even));
    }
}

/// log(1 + e) for e in [0, 1], relative error at most 2 epsilon: log(c) + 2 artanh(z), 1 + e = c (1 + z) / (1 - z), with
/// c = 1 or 1.5 so that |z| <= 1/7.
RLGAF_INLINE double log1p_of_share(double e) noexcept {
    const double above = choose(e > 0.25, 0.5, 0.0), z = (e - above) / (e + above + 2);
    return choose(e > 0.25, 0.40546510810816438, 0.0) + (2 * z + twice_artanh_rest(z));
}
/// e times the polynomial of degree 8 with the smallest relative error, 3e-8.
RLGAF_INLINE float log1p_of_share(float e) noexcept {
    const float square = e * e;
    float even = 0.0052326943f, odd = -0.029505239f;
    even = even * square + 0.078225952f, odd = odd * square - 0.136632458f;
    even = even * square + 0.191060068f, odd = odd * square - 0.248429822f;
    even = even * square + 0.333190968f, odd = odd * square - 0.499994931f;
    return e * ((even * square + 0.99999997f) + e * odd);
}

}  // namespace detail

/// The part of softplus and sigmoid that is symmetric: softplus(-|x|) and sigmoid(-|x|), both within 2 epsilon.
template <class T>
struct logistic_tail {
    T value, share;
};
template <std::floating_point T>
RLGAF_INLINE logistic_tail<T> tail_of(T x) noexcept {
    const T e = detail::exponential_decay(x);
    return {detail::log1p_of_share(e), e / (1 + e)};
}

/// 1 / (1 + exp(-x)), exact to rounding for both signs.
template <std::floating_point T>
RLGAF_INLINE T sigmoid(T x) noexcept {
    const T e = detail::exponential_decay(x);
    return detail::choose(x < 0, e, T{1}) / (1 + e);
}

/// log(1 + exp(x)); its derivative is sigmoid(x).
template <std::floating_point T>
RLGAF_INLINE T softplus(T x) noexcept {
    return detail::choose(x < 0, T{0}, x) + detail::log1p_of_share(detail::exponential_decay(x));
}

/// softplus(x), sigmoid(x) and sigmoid(-x) for the price of one exponential and one division.
template <class T>
struct softplus_pair {
    T value, slope;
    T rest;  ///< 1 - slope without cancellation
};
template <std::floating_point T>
RLGAF_INLINE softplus_pair<T> softplus_and_slope(T x) noexcept {
    const logistic_tail<T> tail = tail_of(x);
    return {detail::choose(x < 0, T{0}, x) + tail.value, detail::choose(x < 0, tail.share, 1 - tail.share),
            detail::choose(x < 0, 1 - tail.share, tail.share)};
}

/// log(sigmoid(x)) = -softplus(-x); its derivative is sigmoid(-x).
template <std::floating_point T>
RLGAF_INLINE T log_sigmoid(T x) noexcept {
    return -softplus(-x);
}

}  // namespace rlgaf::inline RLGAF_ABI
