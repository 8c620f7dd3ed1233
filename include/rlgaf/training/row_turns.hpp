#pragma once
#include <vector>

#include "rlgaf/core/random.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/core/span_of.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// Rows 0 .. n - 1, each once in random order, then all of them in another order, and so on. n > 0.
class row_turns {
public:
    row_turns(std::size_t n, std::uint64_t seed) : order_(n), seed_(seed) { count_up(span_of(order_)); }

    /// The next rows.
    void take(std::span<std::size_t> rows) {
        for (std::size_t& row : rows) {
            if (passed_ % order_.size() == 0) shuffle(span_of(order_), {seed_, 0}, passed_ / order_.size());
            row = order_[passed_++ % order_.size()];
        }
    }

private:
    std::vector<std::size_t> order_;
    std::uint64_t seed_;
    std::size_t passed_ = 0;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
