#pragma once
#include "rlgaf/models/lstm/body.hpp"
#include "rlgaf/models/lstm/cell.hpp"
#include "rlgaf/models/lstm/shard.hpp"

/// Forward, and backpropagation through time.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Computes all states of a shard. visit(level, states) sees every level once, while it is in the cache.
/// keep: remembers what backward needs.
template <class T, class Visit>
void forward(const packed_body<T>& body, shard<T>& s, bool keep, Visit&& visit) {
    const prefix_tree& tree = s.tree;
    const std::size_t hidden = body.hidden(), gates = 4 * hidden;
    if (tree.nodes() == 0) return;
    const std::size_t widest = tree.widest(), columns = keep ? tree.nodes() : 2 * widest;
    T* const table = s.table.need(gates * tree.used.size());
    body.table(tree.used, s.embedding.need(body.size().embedding * tree.used.size()), table);
    s.h.need(hidden * columns);
    s.c.need(hidden * columns);
    T* const kept = keep ? s.kept.need(5 * hidden * tree.nodes()) : nullptr;
    const std::size_t z_stride = gates + lanes<T>;  // not a power of two
    T* const z = s.z.need(z_stride * widest);
    level_states<T> before{};
    for (std::size_t d = 0; d < tree.levels(); ++d) {
        const level_states<T> now = s.level(d, hidden, keep);
        const auto compute = [&](std::uint32_t first, std::uint32_t last) {
            for (std::uint32_t n = first; n < last; ++n) {
                const std::uint32_t parent = tree.parent[n];
                cell<T>(hidden, d == 0 ? nullptr : z + (parent - before.first_inner) * z_stride,
                        table + tree.slot[n] * gates, d == 0 ? nullptr : before.c(parent),
                        keep ? kept + n * 5 * hidden : nullptr, now.c(n), now.h(n));
            }
        };
        compute(tree.inner_at[d], tree.inner_at[d + 1]);
        compute(tree.leaf_at[d], tree.leaf_at[d + 1]);
        visit(d, now);
        multiply(body.recurrent, now.h_inner, hidden, tree.inner_at[d + 1] - tree.inner_at[d], z, z_stride);
        before = now;
    }
}

/// Gradients of a shard that was computed with keep. add_d_h(level, states, d_h): adds to d_h [hidden, level width],
/// inner nodes first. Leaves the body's gradients in the shard.
template <class T, class AddDh>
void backward(const packed_body<T>& body, shard<T>& s, AddDh&& add_d_h) {
    const prefix_tree& tree = s.tree;
    const std::size_t hidden = body.hidden(), gates = 4 * hidden, used = tree.used.size();
    const sizes& n = body.size();
    T* const d_table = s.d_table.zeroed(gates * used);
    T* const d_recurrent = s.d_recurrent.zeroed(gates * n.hidden);
    T* const d_input = s.d_input.zeroed(gates * n.embedding);
    s.d_bias.assign(gates, T{0});
    if (tree.nodes() == 0) return;
    const std::size_t widest = tree.widest(), stride = gates + lanes<T>;
    const std::size_t capacity = depth_block + widest;  // gradients before the recurrent weights, from the last node
    T* const d_z = s.d_z.need(stride * capacity);
    T* const d_h = s.d_h.need(hidden * widest);
    T* d_c = s.d_c.need(2 * hidden * widest);
    T* d_c_before = d_c + hidden * widest;
    std::uint32_t last = tree.inner();  // of the nodes whose d_z waits in memory
    const auto column = [&](std::uint32_t node) { return d_z + (capacity - (last - node)) * stride; };
    const auto flush = [&](std::uint32_t first) {
        add_outer(column(first), stride, gates, s.h.data() + first * hidden, hidden, n.hidden, last - first,
                  d_recurrent, gates, s.outer);
        last = first;
    };
    for (std::size_t d = tree.levels(); d-- > 0;) {
        const level_states<T> now = s.level(d, hidden, true);
        const std::uint32_t first = tree.inner_at[d], inner = tree.inner_at[d + 1] - first;
        multiply(body.recurrent_transposed, column(first), stride, inner, d_h, hidden);
        std::fill_n(d_h + inner * hidden, (tree.width(d) - inner) * hidden, T{0});
        add_d_h(d, now, d_h);
        if (last - first >= depth_block || d == 0) flush(first);
        level_states<T> before{};
        if (d > 0) {
            before = s.level(d - 1, hidden, true);
            std::fill_n(column(before.first_inner), (first - before.first_inner) * stride, T{0});
            std::fill_n(d_c_before, (first - before.first_inner) * hidden, T{0});
        }
        const auto compute = [&](std::uint32_t from, std::uint32_t to, const T* d_h_from, const T* d_c_from) {
            for (std::uint32_t node = from; node < to; ++node) {
                const std::uint32_t parent = tree.parent[node];
                cell_backward<T>(hidden, s.kept.data() + node * 5 * hidden, d == 0 ? nullptr : before.c(parent),
                                 d_h_from + (node - from) * hidden,
                                 d_c_from ? d_c_from + (node - from) * hidden : nullptr,
                                 d_table + tree.slot[node] * gates, d == 0 ? nullptr : column(parent),
                                 d == 0 ? nullptr : d_c_before + (parent - before.first_inner) * hidden);
            }
        };
        compute(first, first + inner, d_h, d_c);
        compute(tree.leaf_at[d], tree.leaf_at[d + 1], d_h + inner * hidden, nullptr);
        std::swap(d_c, d_c_before);
    }
    add_outer(d_table, gates, gates, s.embedding.data(), n.embedding, n.embedding, used, d_input, gates, s.outer);
    multiply(body.input_transposed, d_table, gates, used, s.d_embedding.need(padded<T>(n.embedding) * used),
             padded<T>(n.embedding));
    for (std::size_t i = 0; i < used; ++i) add_scaled(gates, T{1}, d_table + i * gates, s.d_bias.data());
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
