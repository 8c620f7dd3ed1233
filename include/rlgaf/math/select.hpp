#pragma once
#include <cstddef>
#include <span>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The k-th smallest number, k from 0 (std::nth_element without <algorithm>). Reorders x; no NaN in it; k < x.size().
/// A partition in three, so that ties cost nothing; linear time on average.
/// Source: Hoare 1961, "Find"; Dijkstra 1976, the Dutch national flag.
inline double kth_smallest(std::span<double> x, std::size_t k) noexcept {
    const auto swap = [&](std::size_t i, std::size_t j) {
        const double held = x[i];
        x[i] = x[j];
        x[j] = held;
    };
    std::size_t first = 0, last = x.size();
    for (;;) {
        const double a = x[first], b = x[first + (last - first) / 2], c = x[last - 1];
        const double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        std::size_t below = first, next = first, above = last;
        while (next < above)
            if (x[next] < pivot)
                swap(below++, next++);
            else if (pivot < x[next])
                swap(next, --above);
            else
                ++next;
        if (k < below)
            last = below;
        else if (k >= above)
            first = above;
        else
            return pivot;
    }
}

}  // namespace rlgaf::inline RLGAF_ABI
