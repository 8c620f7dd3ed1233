#pragma once
#include <cstddef>
#include <span>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/ragged_view.hpp"
#include "rlgaf/core/token_map.hpp"

/// Reductions: always in double, in a fixed order.
namespace rlgaf::inline RLGAF_ABI {

template <class T>
double sum(std::span<const T> x) noexcept {
    double total = 0;
    for (const T v : x) total += static_cast<double>(v);
    return total;
}

/// first, first + 1, ... (std::iota without <numeric>).
template <class T>
void count_up(std::span<T> x, T first = 0) noexcept {
    for (T& v : x) v = first++;
}

/// Calls f(row, token) for every token that the mask includes. Masked slots are never touched.
template <class T, class F>
void for_each_token(const ragged_view<T>& shape, const mask_view& mask, F&& f) {
    for (std::size_t b = 0; b < shape.rows(); ++b) {
        const std::size_t n = shape.length(b);
        if (mask.empty()) {
            for (std::size_t t = 0; t < n; ++t) f(b, t);
        } else {
            const auto m = mask.row(b);
            for (std::size_t t = 0; t < n; ++t)
                if (m[t]) f(b, t);
        }
    }
}

/// Which tokens of one row the mask includes. For loops that keep their row pointers in registers.
class included_tokens {
public:
    included_tokens(const mask_view& mask, std::size_t b) noexcept : mask_(mask.empty() ? nullptr : mask.data(b)) {}
    bool operator[](std::size_t t) const noexcept { return mask_ == nullptr || mask_[t] != 0; }

private:
    const std::uint8_t* mask_;
};

namespace detail {
/// Copies those of n elements that the mask includes to the front of `out`; returns how many.
template <class T, class U>
std::size_t pack_included(const T* x, const std::uint8_t* mask, std::size_t n, U* out) noexcept {
    std::size_t included = 0;
    for (std::size_t i = 0; i < n; ++i) {
        out[included] = static_cast<U>(x[i]);
        included += mask[i] != 0;
    }
    return included;
}
}  // namespace detail

/// Row b, or an empty span where the array is not given.
template <class T>
std::span<T> row_if_given(const ragged_view<T>& x, std::size_t b) noexcept {
    return x.empty() ? std::span<T>{} : x.row(b);
}

/// The mask of row b alone, or none.
inline mask_view row_mask(const mask_view& mask, std::size_t b) { return mask.empty() ? mask : mask.slice(b, 1); }

/// Sum over the tokens of one row that the mask includes.
template <class T>
double masked_row_sum(const ragged_view<T>& x, const mask_view& mask, std::size_t b) {
    using value = std::remove_const_t<T>;
    return detail::sum_tokens<1>(
               row_mask(mask, b), [](value v) { return detail::token_numbers<1, value>{{v}}; },
               ragged_view<const value>(x.slice(b, 1)))
        .sum[0];
}

}  // namespace rlgaf::inline RLGAF_ABI
