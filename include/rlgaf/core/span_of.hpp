#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// std::span(x) without its concepts of ranges, which cost more to compile than what is done with the span. Not constexpr:
/// clang would compile it for every template that mentions it.
template <class T>
std::span<T> span_of(std::vector<T>& x) noexcept {
    return {x.data(), x.size()};
}
template <class T>
std::span<const T> span_of(const std::vector<T>& x) noexcept {
    return {x.data(), x.size()};
}
template <class T, std::size_t N>
std::span<T> span_of(T (&x)[N]) noexcept {
    return {x, N};
}
/// x[first] .. x[first + count - 1].
template <class T>
std::span<T> span_of(std::vector<T>& x, std::size_t first, std::size_t count) noexcept {
    return {x.data() + first, count};
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
