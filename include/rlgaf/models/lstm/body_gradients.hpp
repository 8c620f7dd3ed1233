#pragma once
#include "rlgaf/models/lstm/work.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Adds the shards' gradients of the body to the parameters', in the order of the shards.
template <class T>
void add_body_gradients(parameter_memory<T>& memory, const packed_body<T>& body, work<T>& w, std::size_t threads) {
    const sizes& n = body.size();
    const std::size_t hidden = body.hidden();
    threads =
        std::clamp<std::size_t>(w.parts() * 4 * n.hidden * n.hidden / 200000, 1, threads);  // else not worth a thread
    for_each_part(threads, [&](std::size_t part) {
        for (std::size_t p = 0; p < w.parts(); ++p)
            for (std::size_t k = n.hidden * part / threads; k < n.hidden * (part + 1) / threads; ++k)
                add_gates(n.hidden, hidden, w.shards[p].d_recurrent.data() + k * 4 * hidden,
                          memory.gradients(recurrent_block) + k * 4 * n.hidden);
    });
    for (std::size_t p = 0; p < w.parts(); ++p) {
        shard<T>& s = w.shards[p];
        for (std::size_t k = 0; k < n.embedding; ++k)
            add_gates(n.hidden, hidden, s.d_input.data() + k * 4 * hidden,
                      memory.gradients(input_block) + k * 4 * n.hidden);
        add_gates(n.hidden, hidden, s.d_bias.data(), memory.gradients(bias_block));
        for (std::size_t i = 0; i < s.tree.used.size(); ++i) {
            T* const to = memory.gradients(embedding_block) + static_cast<std::size_t>(s.tree.used[i]) * n.embedding;
            const T* const from = s.d_embedding.data() + i * padded<T>(n.embedding);
            for (std::size_t j = 0; j < n.embedding; ++j) to[j] += from[j];
        }
    }
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
