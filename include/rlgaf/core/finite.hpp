#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "rlgaf/core/ragged_view.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Index of the first NaN or infinity, or x.size(). Reads the bits in memory, so that no floating-point
/// optimisation can decide that there is none.
inline std::size_t first_nonfinite(std::span<const float> x) noexcept {
    for (std::size_t i = 0; i < x.size(); ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, x.data() + i, sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u) return i;
    }
    return x.size();
}
inline std::size_t first_nonfinite(std::span<const double> x) noexcept {
    for (std::size_t i = 0; i < x.size(); ++i) {
        std::uint64_t bits;
        std::memcpy(&bits, x.data() + i, sizeof bits);
        if ((bits & 0x7ff0000000000000u) == 0x7ff0000000000000u) return i;
    }
    return x.size();
}

/// Whether *x is NaN. By pointer, because a compiler may assume things about a floating-point argument.
inline bool is_nan(const double* x) noexcept {
    std::uint64_t bits;
    std::memcpy(&bits, x, sizeof bits);
    return (bits & 0x7fffffffffffffffu) > 0x7ff0000000000000u;
}

namespace detail {

/// Errors: numeric_error naming row and token of the first non-finite element that the mask does not exclude.
template <class T>
void check_finite(ragged_view<const T> x, mask_view mask, const char* function, const char* argument) {
    for (std::size_t b = 0; b < x.rows(); ++b) {
        const std::span<const T> row = x.row(b);
        for (std::size_t t = first_nonfinite(row); t < row.size(); t = t + 1 + first_nonfinite(row.subspan(t + 1)))
            if (mask.empty() || mask.row(b)[t]) [[unlikely]]
                fail(error_kind::numeric, function, short_text(argument, " row ", b, " token ", t), "a finite number",
                     short_text(static_cast<double>(row[t])));
    }
}
template <class T>
void check_finite(std::span<const T> x, const char* function, const char* argument) {
    if (const std::size_t i = first_nonfinite(x); i < x.size()) [[unlikely]]
        fail(error_kind::numeric, function, short_text(argument, "[", i, "]"), "a finite number",
             short_text(static_cast<double>(x[i])));
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
