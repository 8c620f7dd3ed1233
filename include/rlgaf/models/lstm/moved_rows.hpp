#pragma once
#include "rlgaf/models/lstm/mixed_embedding.hpp"
#include "rlgaf/models/lstm/pooled_scores.hpp"

/// Scores of rows whose inputs are vectors: moved embeddings, mixtures of tokens. Such rows share no states.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Cuts the rows into parts of about the same number of states.
template <class T>
void cut_in_order(scorer_work<T>& w, const sizes& n) {
    std::size_t total = 0, done = 0;
    w.depth.clear();
    for (const sequence& s : w.rows) {
        w.depth.push_back(s.depth);
        total += s.depth;
    }
    const std::size_t worth = total * n.hidden * 4 * n.hidden / 500000;
    const std::size_t parts = std::clamp<std::size_t>(worth, 1, threads());
    w.cut.assign(1, 0);
    for (std::size_t i = 0; i < w.depth.size(); ++i) {
        done += w.depth[i];
        if (done * parts >= total * w.cut.size() && w.cut.size() < parts) w.cut.push_back(i + 1);
    }
    while (w.cut.size() <= parts) w.cut.push_back(w.depth.size());
    if (w.dense.size() < parts) w.dense.resize(parts);
}

/// move(row, step, embedding) changes what is read; `table` are the embeddings.
template <class T, class Move>
void forward_moved(const packed_body<T>& body, const linear_head<T>& head, const T* table, scorer_work<T>& w,
                   std::span<T> score, Move&& move) {
    w.moved = true;
    cut_in_order(w, body.size());
    const std::size_t hidden = body.hidden(), embedding = body.size().embedding;
    for_each_part(w.parts(), [&](std::size_t part) {
        dense_lstm<T>& lstm = w.dense[part];
        const std::size_t first = w.cut[part], last = w.cut[part + 1];
        lstm.assign(std::span(w.depth).subspan(first, last - first), body.size());
        for (std::size_t i = first; i < last; ++i)
            for (std::size_t t = 0; t < w.depth[i]; ++t) {
                T* const to = lstm.input(i - first, t);
                std::copy_n(table + static_cast<std::size_t>(w.input[w.rows[i].first + t]) * embedding, embedding, to);
                move(i, t, to);
            }
        lstm.forward(body);
        for (std::size_t i = first; i < last; ++i) {
            const sequence& s = w.rows[i];
            for (std::uint32_t k = 0; k < s.out_count; ++k)
                add_scaled(hidden, w.state_share(s.row), lstm.state(i - first, s.out_first + k),
                           w.pooled.data() + i * hidden);
            finish_row(head, w, s.row, score);
        }
    });
}

/// From the gradients by the rows' features; `parameters`: those of the body are wanted too.
template <class T>
void backward_moved(const packed_body<T>& body, scorer_work<T>& w, bool parameters) {
    const std::size_t hidden = body.hidden();
    for_each_part(w.parts(), [&](std::size_t part) {
        dense_lstm<T>& lstm = w.dense[part];
        lstm.begin_backward(parameters);
        for (std::size_t i = w.cut[part]; i < w.cut[part + 1]; ++i)
            for (std::uint32_t k = 0; k < w.rows[i].out_count; ++k)
                add_scaled(hidden, w.state_share(w.rows[i].row), w.d_pooled.data() + i * hidden,
                           lstm.d_state(i - w.cut[part], w.rows[i].out_first + k));
        lstm.backward(body);
    });
}

/// f(row, step, gradient by the input).
template <class T, class F>
void for_each_moved(const scorer_work<T>& w, F&& f) {
    for (std::size_t part = 0; part < w.parts(); ++part)
        for (std::size_t i = w.cut[part]; i < w.cut[part + 1]; ++i)
            for (std::size_t t = 0; t < w.depth[i]; ++t) f(i, t, w.dense[part].d_input(i - w.cut[part], t));
}

/// Puts the gradients by what relaxed rows made of the embeddings in place of these.
template <class T>
void gather_mixed(scorer_work<T>& w, const sizes& n) {
    const std::size_t stride = padded<T>(n.embedding);
    for_each_moved(w, [&](std::size_t i, std::size_t t, const T* d_input) {
        if (const std::size_t said = w.depth[i] - w.length[i]; t >= said)
            std::copy_n(d_input, stride, w.mixed_input.data() + (w.offset[i] + t - said) * stride);
    });
}

template <class T>
void add_moved_gradients(scorer_work<T>& w, const sizes& n, mixed_embedding<T>& mixed, parameter_memory<T>& memory) {
    for (std::size_t part = 0; part < w.parts(); ++part) w.dense[part].add_gradients(memory);
    T* const table = memory.gradients(embedding_block);
    for_each_moved(w, [&](std::size_t i, std::size_t t, const T* d_input) {
        if (w.mixed && t >= w.depth[i] - w.length[i]) return;
        T* const to = table + static_cast<std::size_t>(w.input[w.rows[i].first + t]) * n.embedding;
        for (std::size_t j = 0; j < n.embedding; ++j) to[j] += d_input[j];
    });
    if (!w.mixed) return;
    gather_mixed(w, n);
    mixed.assign(memory.values(embedding_block), n);
    mixed.add_gradient(w.share.data(), w.mixed_input.data(), w.offset.back(), table);
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
