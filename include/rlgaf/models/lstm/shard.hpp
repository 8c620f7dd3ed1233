#pragma once
#include "rlgaf/models/lstm/packet.hpp"
#include "rlgaf/models/lstm/prefix_tree.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// The states of one level, by node.
template <class T>
struct level_states {
    T *h_inner, *h_leaf, *c_inner, *c_leaf;
    std::uint32_t first_inner, first_leaf, inner;
    std::size_t hidden;

    T* h(std::uint32_t node) const {
        return node < inner ? h_inner + (node - first_inner) * hidden : h_leaf + (node - first_leaf) * hidden;
    }
    T* c(std::uint32_t node) const {
        return node < inner ? c_inner + (node - first_inner) * hidden : c_leaf + (node - first_leaf) * hidden;
    }
};

/// One thread's part of a batch, with all memory that it needs.
template <class T>
struct shard {
    prefix_tree tree;
    scratch<T> embedding, table;                     ///< of used tokens: [embedding, used], [4 hidden, used]
    scratch<T> kept, h, c;                           ///< [5 hidden, nodes], [hidden, nodes] (or two levels)
    scratch<T> z;                                    ///< [4 hidden, a level's inner nodes]
    scratch<T> d_h, d_c, d_z, d_table, d_embedding;  ///< backward
    scratch<T> d_input, d_recurrent;                 ///< [4 hidden, embedding], [4 hidden, hidden]
    scratch<T> gathered, d_gathered, logits, weights, d_output, d_output_bias, outer;  ///< for heads
    std::vector<T> d_bias;

    level_states<T> level(std::size_t d, std::size_t hidden, bool keep) {
        const std::uint32_t first_inner = tree.inner_at[d], first_leaf = tree.leaf_at[d];
        const std::size_t inner = tree.inner_at[d + 1] - first_inner;
        const std::size_t offset = keep ? 0 : (d & 1) * tree.widest() * hidden;
        const std::size_t to_inner = keep ? first_inner * hidden : offset,
                          to_leaf = keep ? first_leaf * hidden : offset + inner * hidden;
        return {h.data() + to_inner, h.data() + to_leaf, c.data() + to_inner, c.data() + to_leaf,
                first_inner,         first_leaf,         tree.inner(),        hidden};
    }
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
