#pragma once
#include "rlgaf/models/lstm/body.hpp"
#include "rlgaf/models/lstm/cell.hpp"

/// The LSTM of lstm_layer.hpp over inputs that are vectors instead of tokens: moved embeddings, mixtures of tokens.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Inputs, states and gradients of some rows, which may end at different steps. Rows share no states.
///
/// A step is one column for each row that is still alive, the longest row first, so that a step's parents are the first
/// columns of the step before and every product runs over all rows at once.
/// Use: assign, fill every input, forward; then begin_backward, add to d_state, backward, read d_input, add_gradients.
///      Where inputs depend on states before them: forward_step in ascending, backward_step in descending order of t.
///      A step needs its inputs, or its d_state, and no others.
/// Needs: the padding of d_state stays zero. Vectors are padded to whole packets; an input's padding is not read.
template <class T>
class dense_lstm {
public:
    /// Takes on rows of these lengths; their inputs are unspecified.
    void assign(std::span<const std::uint32_t> length, const sizes& n) {
        size_ = n;
        hidden_ = padded<T>(n.hidden);
        embedding_ = padded<T>(n.embedding);
        std::uint32_t steps = 0;
        for (const std::uint32_t l : length) steps = std::max(steps, l);
        alive_.assign(steps + std::size_t{1}, 0);
        for (const std::uint32_t l : length) ++alive_[l];
        std::size_t longer = 0;
        for (std::size_t t = steps + std::size_t{1}; t-- > 0;) longer += std::exchange(alive_[t], longer);
        first_.assign(1, 0);
        for (std::size_t t = 0; t < steps; ++t) first_.push_back(first_[t] + alive_[t]);
        next_ = alive_;
        place_.resize(length.size());
        for (std::size_t i = 0; i < length.size(); ++i) place_[i] = next_[length[i]]++;
        x_.need(embedding_ * first_.back());
        h_.need(hidden_ * first_.back());
        c_.need(hidden_ * first_.back());
        kept_.need(5 * hidden_ * first_.back());
    }

    std::size_t steps() const { return first_.size() - 1; }
    std::size_t alive(std::size_t t) const { return alive_[t]; }  ///< rows longer than t
    T* input(std::size_t row, std::size_t t) { return x_.data() + embedding_ * column(row, t); }
    const T* state(std::size_t row, std::size_t t) const { return h_.data() + hidden_ * column(row, t); }
    T* d_state(std::size_t row, std::size_t t) { return d_h_.data() + hidden_ * column(row, t); }
    const T* d_input(std::size_t row, std::size_t t) const { return d_x_.data() + embedding_ * column(row, t); }

    void forward(const packed_body<T>& body) {
        for (std::size_t t = 0; t < steps(); ++t) forward_step(body, t);
    }
    void forward_step(const packed_body<T>& body, std::size_t t) {
        const std::size_t gates = 4 * hidden_, n = alive_[t], from = first_[t], before = t > 0 ? first_[t - 1] : 0;
        T* const z = z_.need(stride() * n);
        for (std::size_t i = 0; i < n; ++i) std::copy_n(body.bias(), gates, z + i * stride());
        multiply(body.input, x_.data() + from * embedding_, embedding_, n, z, stride(), true);
        if (t > 0) multiply(body.recurrent, h_.data() + before * hidden_, hidden_, n, z, stride(), true);
        for (std::size_t i = 0; i < n; ++i)
            cell<T>(hidden_, nullptr, z + i * stride(), t > 0 ? c_.data() + (before + i) * hidden_ : nullptr,
                    kept_.data() + (from + i) * 5 * hidden_, c_.data() + (from + i) * hidden_,
                    h_.data() + (from + i) * hidden_);
    }

    /// `parameters`: gradients of the parameters are wanted too.
    void begin_backward(bool parameters) {
        parameters_ = parameters;
        d_h_.zeroed(hidden_ * first_.back());
        d_x_.need(embedding_ * first_.back());
        d_c_.need(2 * hidden_ * alive_[0]);
        capacity_ = depth_block + alive_[0];
        d_z_.need(stride() * capacity_);
        last_ = first_.back();
        d_bias_.zeroed(4 * hidden_);
        if (!parameters) return;
        d_input_weights_.zeroed(4 * hidden_ * size_.embedding);
        d_recurrent_.zeroed(4 * hidden_ * size_.hidden);
    }
    void backward(const packed_body<T>& body) {
        for (std::size_t t = steps(); t-- > 0;) backward_step(body, t);
    }
    void backward_step(const packed_body<T>& body, std::size_t t) {
        const std::size_t gates = 4 * hidden_, n = alive_[t], from = first_[t], before = t > 0 ? first_[t - 1] : 0;
        const T* const d_c = d_c_.data() + (t & 1) * hidden_ * alive_[0];
        T* const d_c_before = d_c_.data() + (~t & 1) * hidden_ * alive_[0];
        T* const d_z = waiting(from);
        std::fill_n(d_z, stride() * n, T{0});
        std::fill_n(d_c_before, hidden_ * n, T{0});
        for (std::size_t i = 0; i < n; ++i) {
            const T* const kept = kept_.data() + (from + i) * 5 * hidden_;
            const T* const d_h = d_h_.data() + (from + i) * hidden_;
            const T* const d_c_here = i < alive_[t + 1] ? d_c + i * hidden_ : nullptr;
            T* const to = d_z + i * stride();
            if (t > 0) {
                cell_backward<T>(hidden_, kept, c_.data() + (before + i) * hidden_, d_h, d_c_here, d_bias_.data(), to,
                                 d_c_before + i * hidden_);
            } else {
                cell_backward<T>(hidden_, kept, nullptr, d_h, d_c_here, to, nullptr, nullptr);
                add_scaled(gates, T{1}, to, d_bias_.data());
            }
        }
        multiply(body.input_transposed, d_z, stride(), n, d_x_.data() + from * embedding_, embedding_);
        if (t > 0) multiply(body.recurrent_transposed, d_z, stride(), n, d_h_.data() + before * hidden_, hidden_, true);
        if (!parameters_)
            last_ = from;
        else if (last_ - from >= depth_block || t == 0)
            flush(t);
    }

    /// Adds to the parameters' gradients, the embedding's excepted: its share is in d_input.
    void add_gradients(parameter_memory<T>& memory) const {
        for (std::size_t k = 0; k < size_.embedding; ++k)
            add_gates(size_.hidden, hidden_, d_input_weights_.data() + k * 4 * hidden_,
                      memory.gradients(input_block) + k * 4 * size_.hidden);
        for (std::size_t k = 0; k < size_.hidden; ++k)
            add_gates(size_.hidden, hidden_, d_recurrent_.data() + k * 4 * hidden_,
                      memory.gradients(recurrent_block) + k * 4 * size_.hidden);
        add_gates(size_.hidden, hidden_, d_bias_.data(), memory.gradients(bias_block));
    }

private:
    std::size_t column(std::size_t row, std::size_t t) const { return first_[t] + place_[row]; }
    std::size_t stride() const { return 4 * hidden_ + lanes<T>; }  ///< not a power of two
    /// Gradients before the weights wait here until there are enough columns for a product; the last one ends the
    /// memory.
    T* waiting(std::size_t column) { return d_z_.data() + (capacity_ - (last_ - column)) * stride(); }

    void flush(std::size_t t) {
        const std::size_t gates = 4 * hidden_, from = first_[t], inner = std::max(from, first_[1]);
        add_outer(waiting(from), stride(), gates, x_.data() + from * embedding_, embedding_, size_.embedding,
                  last_ - from, d_input_weights_.data(), gates, outer_);
        if (inner < last_) {
            T* const parent = parents_.need(hidden_ * (last_ - inner));
            for (std::size_t s = std::max<std::size_t>(t, 1); first_[s] < last_; ++s)
                std::copy_n(h_.data() + first_[s - 1] * hidden_, alive_[s] * hidden_,
                            parent + (first_[s] - inner) * hidden_);
            add_outer(waiting(inner), stride(), gates, parent, hidden_, size_.hidden, last_ - inner,
                      d_recurrent_.data(), gates, outer_);
        }
        last_ = from;
    }

    sizes size_;
    std::size_t hidden_ = 0, embedding_ = 0;          ///< padded
    std::vector<std::size_t> alive_, first_, place_;  ///< of steps: rows, first column; of rows: place in a step
    std::vector<std::size_t> next_;
    scratch<T> x_, h_, c_, kept_, z_;             ///< columns; z of one step
    scratch<T> d_h_, d_x_, d_c_, d_z_, parents_;  ///< d_c of two steps
    scratch<T> d_input_weights_, d_recurrent_, d_bias_, outer_;
    std::size_t capacity_ = 0, last_ = 0;  ///< columns that may wait; the end of those that do
    bool parameters_ = false;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
