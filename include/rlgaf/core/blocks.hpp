#pragma once
#include <cstddef>
#include <cstdint>

#include "rlgaf/core/config.hpp"

/// Work goes in blocks that stay in the first-level cache; sums are taken in double.
namespace rlgaf::inline RLGAF_ABI::detail {

inline constexpr std::size_t block_tokens = 128;

/// f(first, n) for the blocks of a row. Full ones get n as a constant: g++ -O2 makes vector code of no other loop. clang
/// makes it of all, but inlines f only where it is called once.
template <class F>
RLGAF_INLINE void for_each_block(std::size_t length, F&& f) {
    std::size_t first = 0;
#ifndef __clang__
    for (; length - first >= block_tokens; first += block_tokens) f(first, block_tokens);
#endif
    for (; first < length; first += block_tokens)
        f(first, length - first < block_tokens ? length - first : block_tokens);
}

/// A sum in double, in lanes that do not wait for each other.
class lane_sum {
public:
    template <class T>
    void add(const T* x, std::size_t n) noexcept {
        double lane[lanes] = {};  // apart from lane_, which x might alias
        const std::size_t whole = n - n % lanes;
        for (std::size_t i = 0; i < whole; i += lanes)
            for (std::size_t k = 0; k < lanes; ++k) lane[k] += static_cast<double>(x[i + k]);
        for (std::size_t k = 0; k < lanes; ++k) lane_[k] += lane[k];
        for (std::size_t i = whole; i < n; ++i) lane_[i - whole] += static_cast<double>(x[i]);
    }
    double total() const noexcept {
        double sum = 0;
        for (const double v : lane_) sum += v;
        return sum;
    }

private:
    static constexpr std::size_t lanes = 16;
    double lane_[lanes] = {};
};

inline std::size_t count_included(const std::uint8_t* mask, std::size_t n) noexcept {
    std::size_t included = 0;
    for (std::size_t i = 0; i < n; ++i) included += mask[i] != 0;
    return included;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
