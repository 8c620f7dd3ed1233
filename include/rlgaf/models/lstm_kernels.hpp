#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "rlgaf/core/config.hpp"

/// What the recurrent models spend their time in: products with packed weights, the LSTM cell, the softmax.
///
/// Written on Eigen's packets, because the same weights meet many narrow operands: they are packed once a call, and a
/// product with a few columns runs as fast as one with hundreds. Every element is one sum in a fixed order, so a column
/// of a result does not depend on the columns beside it, to the bit.
/// Matrices are column-major; a column is one state or token. Columns are padded to a whole number of packets, and the
/// padding is zero.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC's own AVX-512 header
#endif
#endif
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

template <class T>
using packet = typename Eigen::internal::packet_traits<T>::type;
template <class T>
inline constexpr std::size_t lanes = Eigen::internal::unpacket_traits<packet<T>>::size;

template <class T>
constexpr std::size_t padded(std::size_t n) {
    return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

template <class T>
EIGEN_ALWAYS_INLINE packet<T> load(const T* p) {
    return Eigen::internal::ploadu<packet<T>>(p);
}
template <class T>
EIGEN_ALWAYS_INLINE void store(T* p, const packet<T>& x) {
    Eigen::internal::pstoreu(p, x);
}
template <class T>
EIGEN_ALWAYS_INLINE packet<T> all(T x) {
    return Eigen::internal::pset1<packet<T>>(x);
}

/// Memory that only grows; what is in it is unspecified.
template <class T>
class scratch {
public:
    T* need(std::size_t n) {
        if (n > data_.size()) {
            data_.clear();  // nothing to copy
            data_.resize(n + n / 8);
        }
        return data_.data();
    }
    T* zeroed(std::size_t n) {
        T* p = need(n);
        std::fill_n(p, n, T{0});
        return p;
    }
    T* data() { return data_.data(); }
    const T* data() const { return data_.data(); }

private:
    std::vector<T, Eigen::aligned_allocator<T>> data_;
};

/// The tile that is held in registers: `tile_packets` packets of rows times `tile_columns` columns.
inline constexpr std::size_t tile_packets = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 4 : 2;
inline constexpr std::size_t tile_columns = 6;
inline constexpr std::size_t depth_block = 256;  ///< terms that are summed before the tile is written back
template <class T>
inline constexpr std::size_t tile_rows = tile_packets* lanes<T>;

/// c[M packets, N] (+)= a[M packets, depth] b[depth, N]. a is packed; b's element (k, j) is b[k * step + j * stride].
template <class T, std::size_t M, std::size_t N, class Index = std::make_index_sequence<M * N>>
struct tile;
template <class T, std::size_t M, std::size_t N, std::size_t... I>
struct tile<T, M, N, std::index_sequence<I...>> {
    template <bool Packed>
    static void run(std::size_t depth, const T* a, const T* b, std::size_t stride, T* c, std::size_t c_stride,
                    bool add) {
        packet<T> sum[M * N] = {((void)I, all<T>(0))...};
        for (std::size_t k = 0; k < depth; ++k) {
            term<Packed>(sum, a, b, stride, std::make_index_sequence<M>{});
            a += M * lanes<T>;
            b += Packed ? tile_columns : 1;
        }
        if (add)
            ((store(c + I / M * c_stride + I % M * lanes<T>,
                    Eigen::internal::padd(load(c + I / M * c_stride + I % M * lanes<T>), sum[I]))),
             ...);
        else
            ((store(c + I / M * c_stride + I % M * lanes<T>, sum[I])), ...);
    }
    template <bool Packed, std::size_t... R>
    static EIGEN_ALWAYS_INLINE void term(packet<T>* sum, const T* a, const T* b, std::size_t stride,
                                         std::index_sequence<R...>) {
        const packet<T> rows[M] = {load(a + R * lanes<T>)...};
        ((sum[I] = Eigen::internal::pmadd(rows[I % M], all<T>(b[I / M * (Packed ? 1 : stride)]), sum[I])), ...);
    }
};

/// Runs the tile with this many packets and columns.
template <class T, bool Packed>
void run_tile(std::size_t packets, std::size_t columns, std::size_t depth, const T* a, const T* b, std::size_t stride,
              T* c, std::size_t c_stride, bool add) {
    const auto with_columns = [&]<std::size_t M, std::size_t... J>(std::index_sequence<M>, std::index_sequence<J...>) {
        (void)((columns == J + 1 &&
                (tile<T, M, J + 1>::template run<Packed>(depth, a, b, stride, c, c_stride, add), true)) ||
               ...);
    };
    [&]<std::size_t... P>(std::index_sequence<P...>) {
        (void)((packets == P + 1 &&
                (with_columns(std::index_sequence<P + 1>{}, std::make_index_sequence<tile_columns>{}), true)) ||
               ...);
    }
    (std::make_index_sequence<tile_packets>{});
}

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

template <class T>
EIGEN_ALWAYS_INLINE packet<T> tanh_of(const packet<T>& x) {
    if constexpr (lanes<T> == 1)
        return std::tanh(x);
    else if constexpr (Eigen::internal::packet_traits<T>::HasTanh)
        return Eigen::internal::ptanh(x);
    else {  // 1 - 2 / (exp(2x) + 1)
        const packet<T> e = Eigen::internal::pexp(Eigen::internal::padd(x, x));
        return Eigen::internal::psub(all<T>(1), Eigen::internal::pdiv(all<T>(2), Eigen::internal::padd(e, all<T>(1))));
    }
}
template <class T>
EIGEN_ALWAYS_INLINE packet<T> sigmoid_of(const packet<T>& x) {
    const packet<T> half = all<T>(T(0.5));
    return Eigen::internal::pmadd(half, tanh_of<T>(Eigen::internal::pmul(half, x)), half);
}
template <class T>
EIGEN_ALWAYS_INLINE packet<T> exp_of(const packet<T>& x) {
    if constexpr (lanes<T> == 1)
        return std::exp(x);
    else
        return Eigen::internal::pexp(x);
}

/// One state from its parent's. `hidden` is a whole number of packets.
/// Formula: (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(z + table);  c = f c_before + i g;  h = o tanh(c).
/// z and c_before are null for a first state. `kept` gets i, f, g, o, tanh(c), or is null.
template <class T>
void cell(std::size_t hidden, const T* z, const T* table, const T* c_before, T* kept, T* c, T* h) {
    using namespace Eigen::internal;
    for (std::size_t j = 0; j < hidden; j += lanes<T>) {
        packet<T> i = load(table + j), f = load(table + hidden + j), g = load(table + 2 * hidden + j),
                  o = load(table + 3 * hidden + j);
        if (z) {
            i = padd(i, load(z + j));
            f = padd(f, load(z + hidden + j));
            g = padd(g, load(z + 2 * hidden + j));
            o = padd(o, load(z + 3 * hidden + j));
        }
        i = sigmoid_of<T>(i);
        g = tanh_of<T>(g);
        o = sigmoid_of<T>(o);
        f = sigmoid_of<T>(f);
        packet<T> next = pmul(i, g);
        if (c_before) next = pmadd(f, load(c_before + j), next);
        const packet<T> squashed = tanh_of<T>(next);
        store(c + j, next);
        store(h + j, pmul(o, squashed));
        if (kept) {
            store(kept + j, i);
            store(kept + hidden + j, f);
            store(kept + 2 * hidden + j, g);
            store(kept + 3 * hidden + j, o);
            store(kept + 4 * hidden + j, squashed);
        }
    }
}

/// Gradients of one state. d_h is complete; d_c (null: zero) is what comes from the children.
/// Adds to d_table, and where there is a parent to its d_z (before the recurrent weights) and its d_c.
template <class T>
void cell_backward(std::size_t hidden, const T* kept, const T* c_before, const T* d_h, const T* d_c, T* d_table, T* d_z,
                   T* d_c_before) {
    using namespace Eigen::internal;
    const packet<T> one = all<T>(1);
    const auto add_to = [&](T* p, const packet<T>& x) { store(p, padd(load(p), x)); };
    for (std::size_t j = 0; j < hidden; j += lanes<T>) {
        const packet<T> i = load(kept + j), f = load(kept + hidden + j), g = load(kept + 2 * hidden + j),
                        o = load(kept + 3 * hidden + j), squashed = load(kept + 4 * hidden + j);
        const packet<T> dh = load(d_h + j), dho = pmul(dh, o);
        packet<T> dc = psub(dho, pmul(dho, pmul(squashed, squashed)));
        if (d_c) dc = padd(dc, load(d_c + j));
        const packet<T> di = pmul(pmul(dc, g), pmul(i, psub(one, i)));
        const packet<T> dg = pmul(pmul(dc, i), psub(one, pmul(g, g)));
        const packet<T> d_o = pmul(pmul(dho, squashed), psub(one, o));
        add_to(d_table + j, di);
        add_to(d_table + 2 * hidden + j, dg);
        add_to(d_table + 3 * hidden + j, d_o);
        if (d_z) {
            const packet<T> df = pmul(pmul(dc, load(c_before + j)), pmul(f, psub(one, f)));
            add_to(d_table + hidden + j, df);
            add_to(d_z + j, di);
            add_to(d_z + hidden + j, df);
            add_to(d_z + 2 * hidden + j, dg);
            add_to(d_z + 3 * hidden + j, d_o);
            add_to(d_c_before + j, pmul(dc, f));
        }
    }
}

/// to += a * from, over a whole number of packets.
template <class T>
void add_scaled(std::size_t n, T a, const T* from, T* to) {
    const packet<T> factor = all<T>(a);
    for (std::size_t j = 0; j < n; j += lanes<T>)
        store(to + j, Eigen::internal::pmadd(factor, load(from + j), load(to + j)));
}

/// The tempered distribution of one state.
template <class T>
struct softmax_result {
    double sum = 1;      ///< of the weights
    double log_sum = 0;  ///< log-prob of v is logit[v] - log_sum
    double entropy = 0;
};

/// In: logits without bias [padded n]. Out: logit[v] = (logit[v] + bias[v]) / temperature - max; weight[v] =
/// exp(logit[v]). Padding of the weights becomes zero.
template <class T>
softmax_result<T> softmax(std::size_t n, const T* bias, T inverse_temperature, T* logit, T* weight, bool entropy) {
    using namespace Eigen::internal;
    const std::size_t size = padded<T>(n);
    const packet<T> scale = all<T>(inverse_temperature);
    for (std::size_t j = 0; j < size; j += lanes<T>)
        store(logit + j, pmul(scale, padd(load(logit + j), load(bias + j))));
    for (std::size_t j = n; j < size; ++j) logit[j] = logit[0];
    packet<T> largest = load(logit);
    for (std::size_t j = lanes<T>; j < size; j += lanes<T>) largest = pmax(largest, load(logit + j));
    const packet<T> max = all<T>(predux_max(largest));
    for (std::size_t j = 0; j < size; j += lanes<T>) {
        const packet<T> x = psub(load(logit + j), max);
        store(logit + j, x);
        store(weight + j, exp_of<T>(x));
    }
    for (std::size_t j = n; j < size; ++j) weight[j] = 0;
    softmax_result<T> result;
    packet<T> sum = all<T>(0), moment = all<T>(0);
    for (std::size_t j = 0; j < size; j += lanes<T>) sum = padd(sum, load(weight + j));
    result.sum = static_cast<double>(predux(sum));
    result.log_sum = std::log(result.sum);
    if (entropy) {
        for (std::size_t j = 0; j < size; j += lanes<T>) moment = pmadd(load(weight + j), load(logit + j), moment);
        result.entropy = result.log_sum - static_cast<double>(predux(moment)) / result.sum;
    }
    return result;
}

/// x[v] = weight[v] (a x[v] + b): the gradient by logits from what softmax left behind.
template <class T>
void softmax_backward(std::size_t n, T a, T b, const T* weight, T* x) {
    using namespace Eigen::internal;
    const packet<T> slope = all<T>(a), constant = all<T>(b);
    for (std::size_t j = 0; j < n; j += lanes<T>)
        store(x + j, pmul(load(weight + j), pmadd(slope, load(x + j), constant)));
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
