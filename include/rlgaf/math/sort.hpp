#pragma once
#include <span>
#include <utility>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// Sorts in place without memory of its own, always the same way. `less` must be a strict total order.
/// Source: Williams 1964 (heapsort).
template <class Less>
void heap_sort(std::span<std::size_t> x, Less&& less) {
    const auto sink = [&](std::size_t parent, std::size_t size) {
        for (std::size_t child; (child = 2 * parent + 1) < size; parent = child) {
            if (child + 1 < size && less(x[child], x[child + 1])) ++child;
            if (!less(x[parent], x[child])) return;
            std::swap(x[parent], x[child]);
        }
    };
    for (std::size_t i = x.size() / 2; i-- > 0;) sink(i, x.size());
    for (std::size_t n = x.size(); n-- > 1;) {
        std::swap(x[0], x[n]);
        sink(0, n);
    }
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
