#pragma once
#include <utility>

#include "rlgaf/core/blocks.hpp"
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/ragged_view.hpp"

/// Elementwise work on ragged arrays. It goes in blocks of a row that stay in the first-level cache, in the storage type
/// and without branches, so that compilers turn it into vector code; sums are taken in double.
namespace rlgaf::inline RLGAF_ABI::detail {

/// What the formula of map_tokens gives for a token.
template <std::size_t Sums, class T>
struct token_term {
    T out;        ///< added to the output array
    T sum[Sums];  ///< each summed over all tokens
};
template <std::size_t Sums>
struct token_sums {
    double sum[Sums] = {};
    double tokens = 0;  ///< unmasked ones
};

/// What is masked becomes 0.
template <class T>
RLGAF_INLINE void copy_included(T* __restrict to, const T* from, const std::uint8_t* mask, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) to[i] = mask[i] != 0 ? from[i] : T{0};
}

/// value[s][i] = formula(w, x[i]...).sum[s], and .out behind the sums. `value` is in no other array.
template <std::size_t Sums, class T, class Formula, class... X>
RLGAF_INLINE void apply_formula(T (*__restrict value)[block_tokens], std::size_t n, T w, Formula& formula,
                                const X*... x) {
    for (std::size_t i = 0; i < n; ++i) {
        const token_term<Sums, T> t = formula(w, x[i]...);
        value[Sums][i] = t.out;
        for (std::size_t s = 0; s < Sums; ++s) value[s][i] = t.sum[s];
    }
}

/// out += formula(w, x...).out for every unmasked token, w: the row's weight, x: its elements of `in`. Masked slots of
/// `in` have no influence, those of `out` keep what they have. The formula is arithmetic and comparisons that are used
/// once. Shapes: all [B, length]; row_weight [B]. The caller has checked them.
template <std::size_t Sums, class T, class Formula, class... In>
RLGAF_FLATTEN token_sums<Sums> map_tokens(const ragged_view<T>& out, const mask_view& mask,
                                          std::span<const double> row_weight, Formula&& formula, const In&... in) {
    constexpr std::size_t inputs = sizeof...(In);
    token_sums<Sums> result;
    lane_sum total[Sums];
    T copy[inputs][block_tokens], taken[block_tokens];
    T value[Sums + 1][block_tokens];
    T* const term = value[Sums];
    const auto each = [&]<std::size_t... K>(std::index_sequence<K...>) {
        for (std::size_t b = 0; b < out.rows(); ++b) {
            const auto out_row = out.row(b);
            const T* row[inputs] = {in.data(b)...};
            const std::uint8_t* mask_row = mask.empty() ? nullptr : mask.data(b);
            const T w = static_cast<T>(row_weight[b]);
            for_each_block(out_row.size(), [&](const std::size_t first, const std::size_t n) {
                const T* x[inputs] = {row[K] + first...};
                T* const o = out_row.data() + first;
                if (mask_row) {
                    for (std::size_t i = 0; i < n; ++i) taken[i] = mask_row[first + i] != 0 ? T{1} : T{0};
                    ((copy_included(copy[K], x[K], mask_row + first, n), x[K] = copy[K]), ...);
                }
                apply_formula<Sums>(value, n, w, formula, x[K]...);
                if (mask_row) {
                    for (std::size_t s = 0; s < Sums; ++s)
                        for (std::size_t i = 0; i < n; ++i) value[s][i] *= taken[i];
                    for (std::size_t i = 0; i < n; ++i) o[i] = choose(taken[i] != 0, o[i] + term[i], o[i]);
                } else {
                    for (std::size_t i = 0; i < n; ++i) o[i] += term[i];
                }
                result.tokens += static_cast<double>(mask_row ? count_included(mask_row + first, n) : n);
                for (std::size_t s = 0; s < Sums; ++s) total[s].add(value[s], n);
            });
        }
    };
    each(std::make_index_sequence<inputs>{});
    for (std::size_t s = 0; s < Sums; ++s) result.sum[s] = total[s].total();
    return result;
}

/// What the formula of sum_tokens gives for a token.
template <std::size_t Sums, class T>
struct token_numbers {
    T sum[Sums];
};

/// Sums of formula(x...) over the unmasked tokens, x: the elements of `first_in` and `in`.
template <std::size_t Sums, class T, class Formula, class... In>
RLGAF_FLATTEN token_sums<Sums> sum_tokens(const mask_view& mask, Formula&& formula,
                                          const ragged_view<const T>& first_in, const In&... in) {
    constexpr std::size_t inputs = 1 + sizeof...(In);
    token_sums<Sums> result;
    lane_sum total[Sums];
    T value[Sums][block_tokens];
    const auto each = [&]<std::size_t... K>(std::index_sequence<K...>) {
        for (std::size_t b = 0; b < first_in.rows(); ++b) {
            const std::size_t length = first_in.length(b);
            const T* const row[inputs] = {first_in.data(b), in.data(b)...};
            const std::uint8_t* mask_row = mask.empty() ? nullptr : mask.data(b);
            for_each_block(length, [&](const std::size_t first, const std::size_t n) {
                const T* const x[inputs] = {row[K] + first...};
                for (std::size_t i = 0; i < n; ++i) {
                    const token_numbers<Sums, T> t = formula(x[K][i]...);
                    for (std::size_t s = 0; s < Sums; ++s) value[s][i] = t.sum[s];
                }
                if (mask_row)
                    for (std::size_t s = 0; s < Sums; ++s)
                        for (std::size_t i = 0; i < n; ++i) value[s][i] = mask_row[first + i] != 0 ? value[s][i] : T{0};
                for (std::size_t s = 0; s < Sums; ++s) total[s].add(value[s], n);
                result.tokens += static_cast<double>(mask_row ? count_included(mask_row + first, n) : n);
            });
        }
    };
    each(std::make_index_sequence<inputs>{});
    for (std::size_t s = 0; s < Sums; ++s) result.sum[s] = total[s].total();
    return result;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
