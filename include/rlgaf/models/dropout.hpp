#pragma once
#include <span>

#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// The factor of each unit of a row in one forward pass: 0 with probability `dropout`, else 1 / (1 - dropout).
template <class T>
void draw_dropout(std::span<T> factor, double dropout, std::uint64_t seed, std::uint32_t pass, std::size_t row) {
    const random_stream random({seed, pass}, stream::dropout, row);
    const T scale = static_cast<T>(1 / (1 - dropout));
    for (std::size_t j = 0; j < factor.size(); ++j)
        factor[j] = random.uniform(static_cast<std::uint32_t>(j)) < dropout ? T{0} : scale;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
