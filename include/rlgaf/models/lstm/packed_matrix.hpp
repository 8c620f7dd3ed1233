#pragma once
#include <cstring>
#include <span>

#include "rlgaf/models/lstm/tile.hpp"

/// Products with weights that were packed once: for many narrow operands.
RLGAF_QUIET_PACKETS
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// A matrix [rows, depth] in the order in which the product reads it.
template <class T>
class packed_matrix {
public:
    /// Element (r, k) is source[row[r] + column[k]]; where one of them is `none`, it is zero.
    static constexpr std::size_t none = static_cast<std::size_t>(-1);
    void assign(std::span<const std::size_t> row, std::span<const std::size_t> column, const T* source) {
        rows_ = row.size();
        depth_ = column.size();
        T* to = data_.need(rows_ * depth_);
        for (std::size_t first = 0; first < rows_; first += tile_rows<T>) {
            const std::size_t n = std::min(tile_rows<T>, rows_ - first);
            bool together = row[first] != none;
            for (std::size_t r = 1; r < n; ++r) together = together && row[first + r] == row[first] + r;
            for (std::size_t block = 0; block < depth_; block += 16) {  // about a cache line of each row
                const std::size_t end = std::min(block + 16, depth_);
                if (together)
                    for (std::size_t k = block; k < end; ++k)
                        if (column[k] == none)
                            std::fill_n(to + k * n, n, T{0});
                        else
                            std::memcpy(to + k * n, source + row[first] + column[k], n * sizeof(T));
                else
                    for (std::size_t r = 0; r < n; ++r)
                        for (std::size_t k = block; k < end; ++k)
                            to[k * n + r] =
                                row[first + r] == none || column[k] == none ? T{0} : source[row[first + r] + column[k]];
            }
            to += n * depth_;
        }
    }
    std::size_t rows() const { return rows_; }
    std::size_t depth() const { return depth_; }
    const T* panel(std::size_t first_row) const { return data_.data() + first_row * depth_; }

private:
    scratch<T> data_;
    std::size_t rows_ = 0, depth_ = 0;
};

/// c[rows, n] (+)= a b[depth, n].
template <class T>
void multiply(const packed_matrix<T>& a, const T* b, std::size_t b_stride, std::size_t n, T* c, std::size_t c_stride,
              bool add = false) {
    for (std::size_t first = 0; first < a.rows(); first += tile_rows<T>) {
        const std::size_t rows = std::min(tile_rows<T>, a.rows() - first);
        for (std::size_t k = 0; k == 0 || k < a.depth(); k += depth_block) {
            const std::size_t depth = std::min(depth_block, a.depth() - k);
            for (std::size_t j = 0; j < n; j += tile_columns)
                run_tile<T, false>(rows / lanes<T>, std::min(tile_columns, n - j), depth, a.panel(first) + k * rows,
                                   b + j * b_stride + k, b_stride, c + j * c_stride + first, c_stride, add || k > 0);
        }
    }
}

/// c[rows, columns] += a[rows, depth] b[columns, depth]^T: the gradient of weights over `depth` states.
template <class T>
void add_outer(const T* a, std::size_t a_stride, std::size_t rows, const T* b, std::size_t b_stride,
               std::size_t columns, std::size_t depth, T* c, std::size_t c_stride, scratch<T>& memory) {
    const std::size_t groups = (columns + tile_columns - 1) / tile_columns;
    T* const panel = memory.need(depth_block * (tile_rows<T> + groups * tile_columns));
    T* const packed = panel + depth_block * tile_rows<T>;
    for (std::size_t first_k = 0; first_k < depth; first_k += depth_block) {
        const std::size_t n = std::min(depth_block, depth - first_k);
        for (std::size_t k = 0; k < n; ++k) {
            const T* from = b + (first_k + k) * b_stride;
            for (std::size_t g = 0; g < groups; ++g) {
                T* to = packed + (g * n + k) * tile_columns;
                const std::size_t width = std::min(tile_columns, columns - g * tile_columns);
                if (width == tile_columns)
                    std::memcpy(to, from + g * tile_columns, tile_columns * sizeof(T));
                else
                    for (std::size_t j = 0; j < width; ++j) to[j] = from[g * tile_columns + j];
            }
        }
        for (std::size_t first = 0; first < rows; first += tile_rows<T>) {
            const std::size_t height = std::min(tile_rows<T>, rows - first);
            for (std::size_t k = 0; k < n; ++k)
                std::memcpy(panel + k * height, a + (first_k + k) * a_stride + first, height * sizeof(T));
            for (std::size_t g = 0; g < groups; ++g)
                run_tile<T, true>(height / lanes<T>, std::min(tile_columns, columns - g * tile_columns), n, panel,
                                  packed + g * n * tile_columns, 1, c + g * tile_columns * c_stride + first, c_stride,
                                  true);
        }
    }
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
RLGAF_QUIET_PACKETS_END
