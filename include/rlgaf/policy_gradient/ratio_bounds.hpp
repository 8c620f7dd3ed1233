#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"

/// What token-level losses with bounds on a ratio share. No branches: compilers turn loops over it into vector code.
namespace rlgaf::inline RLGAF_ABI::detail {

/// A bound in the storage type. Ratios end at exp(log_ratio_limit) < 1e9, so that a bound above, infinity as well, is
/// never reached; it is made finite because held_ratio multiplies it by 0.
template <class T>
T ratio_bound(double bound) noexcept {
    return static_cast<T>(bound < 1e9 ? bound : 1e9);
}

/// A ratio within bounds. On a bound counts as free.
template <class T>
struct held_ratio {
    T value;         ///< the ratio, or the bound that holds it
    T free;          ///< the ratio, or 0 where a bound holds it: the slope by the logarithm of the ratio
    T below, above;  ///< 1 where that bound holds it, else 0
};
template <class T>
held_ratio<T> hold_ratio(T ratio, T lowest, T highest) noexcept {
    const T below = choose(ratio < lowest, T{1}, T{0}), above = choose(ratio > highest, T{1}, T{0});
    const T free = ratio * (1 - above) * (1 - below);
    return {free + above * highest + below * lowest, free, below, above};
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
