#pragma once
#include <utility>

#include "rlgaf/models/lstm/packet.hpp"

RLGAF_QUIET_PACKETS
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

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

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
RLGAF_QUIET_PACKETS_END
