#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "rlgaf/backend/batch.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Zeroes the weights outside top_k, then outside top_p of what is left. Ties go to the smaller token.
/// Returns the log of the sum of the rest.
template <class T>
double truncate(const rollout_options& o, std::size_t n, T* weight, std::vector<std::uint32_t>& order) {
    order.resize(n);
    std::iota(order.begin(), order.end(), 0u);
    const std::size_t k = o.top_k > 0 ? std::min<std::size_t>(o.top_k, n) : n;
    std::partial_sort(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
        [&](std::uint32_t a, std::uint32_t b) { return weight[a] != weight[b] ? weight[a] > weight[b] : a < b; });
    double total = 0;
    for (std::size_t i = 0; i < k; ++i) total += static_cast<double>(weight[order[i]]);
    std::size_t kept = k;
    if (o.top_p < 1) {
        double mass = 0;
        for (kept = 0; kept < k && mass < o.top_p * total; ++kept) mass += static_cast<double>(weight[order[kept]]);
        total = mass;
    }
    for (std::size_t i = kept; i < n; ++i) weight[order[i]] = 0;
    return std::log(total);
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
