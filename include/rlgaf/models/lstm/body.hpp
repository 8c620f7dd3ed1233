#pragma once
#include "rlgaf/models/lstm/packed_matrix.hpp"
#include "rlgaf/models/lstm/parameter_memory.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

struct sizes {
    std::size_t vocabulary = 0, embedding = 0, hidden = 0;
};

template <class Options>
sizes sizes_of(const Options& o) {
    return {o.vocabulary, o.embedding, o.hidden};
}

/// The blocks of the recurrent body; heads come after them. Shapes are row-major; gates are in the order i, f, g, o.
enum : std::size_t { embedding_block, input_block, recurrent_block, bias_block, first_head_block };

template <class T>
void add_body(parameter_memory<T>& memory, const sizes& n, std::uint64_t seed) {
    memory.add("embedding", {n.vocabulary + 1, n.embedding});  // the last row is the start token
    memory.add("input", {n.embedding, 4 * n.hidden});
    memory.add("recurrent", {n.hidden, 4 * n.hidden});
    memory.add("bias", {4 * n.hidden});
    const double limit = 1 / std::sqrt(static_cast<double>(n.hidden));
    memory.randomize(embedding_block, std::sqrt(3.0), seed);  // variance 1
    memory.randomize(input_block, limit, seed);
    memory.randomize(recurrent_block, limit, seed);
    std::fill_n(memory.blocks()[bias_block].values.data() + n.hidden, n.hidden, T{1});  // remember at first
}

/// Weights in the order of the products: those of forward, or those of backward. Made anew in every call, because
/// parameters may have changed.
template <class T>
class packed_body {
public:
    void assign(const parameter_memory<T>& memory, const sizes& n, bool backward) {
        n_ = n;
        hidden_ = padded<T>(n.hidden);
        embedding_ = memory.values(embedding_block);
        gate_.assign(4 * hidden_, packed_matrix<T>::none);
        for (std::size_t q = 0; q < 4; ++q)
            for (std::size_t u = 0; u < n.hidden; ++u) gate_[q * hidden_ + u] = q * n.hidden + u;
        const auto line = [&](std::vector<std::size_t>& to, std::size_t size, std::size_t used) {
            to.assign(size, packed_matrix<T>::none);
            for (std::size_t i = 0; i < used; ++i) to[i] = i * 4 * n.hidden;
        };
        line(from_embedding_, padded<T>(n.embedding), n.embedding);
        line(from_hidden_, hidden_, n.hidden);
        const T* const input_values = memory.values(input_block);
        const T* const recurrent_values = memory.values(recurrent_block);
        if (backward) {
            input_transposed.assign(from_embedding_, gate_, input_values);
            recurrent_transposed.assign(from_hidden_, gate_, recurrent_values);
            return;
        }
        input.assign(gate_, std::span(from_embedding_).first(n.embedding), input_values);
        recurrent.assign(gate_, std::span(from_hidden_).first(n.hidden), recurrent_values);
        T* const bias = bias_.zeroed(4 * hidden_);
        for (std::size_t r = 0; r < 4 * hidden_; ++r)
            if (gate_[r] != packed_matrix<T>::none) bias[r] = memory.values(bias_block)[gate_[r]];
    }
    const sizes& size() const { return n_; }
    std::size_t hidden() const { return hidden_; }  ///< padded
    const T* bias() const { return bias_.data(); }  ///< [4 hidden], of forward

    /// table[:, i] = input embedding[token[i]] + bias, and the embeddings themselves [embedding, i].
    void table(std::span<const std::int32_t> token, T* embedding, T* table) const {
        for (std::size_t i = 0; i < token.size(); ++i) {
            std::copy_n(embedding_ + static_cast<std::size_t>(token[i]) * n_.embedding, n_.embedding,
                        embedding + i * n_.embedding);
            std::copy_n(bias_.data(), 4 * hidden_, table + i * 4 * hidden_);
        }
        multiply(input, embedding, n_.embedding, token.size(), table, 4 * hidden_, true);
    }

    packed_matrix<T> input, recurrent, input_transposed, recurrent_transposed;

private:
    sizes n_;
    std::size_t hidden_ = 0;
    const T* embedding_ = nullptr;
    scratch<T> bias_;
    std::vector<std::size_t> gate_, from_embedding_, from_hidden_;
};

/// Adds one column of gates [4 hidden], without its padding, to the gates of a weight's row.
template <class T>
void add_gates(std::size_t units, std::size_t hidden, const T* from, T* to) {
    for (std::size_t q = 0; q < 4; ++q)
        for (std::size_t u = 0; u < units; ++u) to[q * units + u] += from[q * hidden + u];
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
