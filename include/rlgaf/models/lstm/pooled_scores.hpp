#pragma once
#include "rlgaf/models/lstm/linear_head.hpp"
#include "rlgaf/models/lstm/work.hpp"
#include "rlgaf/models/lstm_dense.hpp"

/// Scores of rows, read from a state or from the mean of several.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

template <class T>
struct scorer_work : work<T> {
    scratch<T> pooled, d_pooled;  ///< [H, B]
    scratch<T> factor;            ///< [H, B], of dropout
    bool averages = false, drops = false, moved = false, mixed = false;
    scratch<T> mixed_input, d_share;   ///< of the tokens of relaxed rows
    std::vector<T> share;              ///< [tokens, vocabulary], likewise
    std::vector<std::uint32_t> depth;  ///< [B], of moved rows
    std::vector<dense_lstm<T>> dense;  ///< of parts of moved rows
    std::vector<std::size_t> offset;   ///< [B + 1], of tokens
    std::vector<double> credit;        ///< of every token's own product with the head

    /// How much one wanted state counts in its row's features.
    T state_share(std::uint32_t row) const {
        return averages ? 1 / static_cast<T>(std::max(this->length[row], 1u)) : T{1};
    }
    /// Null without dropout.
    const T* factors() const { return drops ? factor.data() : nullptr; }
};

/// Drops units of one row's features and writes its scores.
template <class T>
void finish_row(const linear_head<T>& head, scorer_work<T>& w, std::size_t row, std::span<T> score) {
    const std::size_t hidden = padded<T>(head.units);
    T* const pooled = w.pooled.data() + row * hidden;
    if (w.drops)
        for (std::size_t j = 0; j < head.units; ++j) pooled[j] *= w.factor.data()[row * hidden + j];
    for (std::size_t k = 0; k < head.outputs; ++k) score[row * head.outputs + k] = head(pooled, k);
}

template <class T>
void forward_pooled(const packed_body<T>& body, const linear_head<T>& head, scorer_work<T>& w, std::size_t part,
                    bool keep, std::span<T> score) {
    const std::size_t hidden = body.hidden();
    shard<T>& s = w.shards[part];
    forward(body, s, keep, [&](std::size_t level, const level_states<T>& now) {
        s.tree.for_each_wanted(level, [&](std::uint32_t node, std::span<const wanted> wants) {
            for (const wanted& at : wants)
                add_scaled(hidden, w.state_share(at.row), now.h(node), w.pooled.data() + at.row * hidden);
        });
    });
    for (std::size_t i = w.cut[part]; i < w.cut[part + 1]; ++i) finish_row(head, w, w.rows[i].row, score);
}

/// The gradient by every row's features.
template <class T>
void differentiate_head(const linear_head<T>& head, scorer_work<T>& w, std::span<const T> d_score) {
    const std::size_t hidden = padded<T>(head.units), outputs = head.outputs;
    T* const d_pooled = w.d_pooled.zeroed(hidden * w.rows.size());
    for (std::size_t b = 0; b < w.rows.size(); ++b)
        for (std::size_t j = 0; j < head.units; ++j) {
            T d{0};
            for (std::size_t k = 0; k < outputs; ++k) d += d_score[b * outputs + k] * head.weight[j * outputs + k];
            d_pooled[b * hidden + j] = w.drops ? d * w.factor.data()[b * hidden + j] : d;
        }
}

template <class T>
void backward_pooled(const packed_body<T>& body, const scorer_work<T>& w, shard<T>& s) {
    const std::size_t hidden = body.hidden();
    backward(body, s, [&](std::size_t level, const level_states<T>&, T* d_h) {
        s.tree.for_each_wanted(level, [&](std::uint32_t node, std::span<const wanted> wants) {
            T* const to = d_h + s.tree.place(level, node) * hidden;
            for (const wanted& at : wants)
                add_scaled(hidden, w.state_share(at.row), w.d_pooled.data() + at.row * hidden, to);
        });
    });
}

template <class T>
void add_head_gradients(const linear_head<T>& head, const scorer_work<T>& w, std::span<const T> d_score,
                        parameter_memory<T>& memory) {
    const std::size_t outputs = head.outputs, hidden = padded<T>(head.units);
    T* const d_head = memory.gradients(head.weight_block);
    for (std::size_t k = 0; k < outputs; ++k) {
        double d_bias = 0;
        for (std::size_t b = 0; b < w.rows.size(); ++b) {
            const T d = d_score[b * outputs + k];
            const T* const pooled = w.pooled.data() + b * hidden;
            for (std::size_t j = 0; j < head.units; ++j) d_head[j * outputs + k] += d * pooled[j];
            d_bias += static_cast<double>(d);
        }
        memory.gradients(head.bias_block)[k] += static_cast<T>(d_bias);
    }
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
