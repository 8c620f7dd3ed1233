#pragma once
#include "rlgaf/models/lstm/body.hpp"
#include "rlgaf/models/lstm/shard.hpp"
#include "rlgaf/models/lstm/softmax.hpp"
#include "rlgaf/models/lstm/work.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// A policy's head: the distribution over the vocabulary at a state.
template <class T>
class softmax_head {
public:
    static constexpr std::size_t weight_block = first_head_block, bias_block = first_head_block + 1;

    static void add_blocks(parameter_memory<T>& memory, const sizes& n, std::uint64_t seed) {
        memory.add("output", {n.vocabulary, n.hidden});
        memory.add("output_bias", {n.vocabulary});
        memory.randomize(weight_block, 1 / std::sqrt(static_cast<double>(n.hidden)), seed);
    }

    /// Weights as the products read them: those of forward, and with `backward` those of backward too.
    void assign(const parameter_memory<T>& memory, const sizes& n, bool backward) {
        n_ = n;
        from_token_.assign(padded<T>(n.vocabulary), packed_matrix<T>::none);
        from_hidden_.assign(padded<T>(n.hidden), packed_matrix<T>::none);
        for (std::size_t v = 0; v < n.vocabulary; ++v) from_token_[v] = v * n.hidden;
        for (std::size_t j = 0; j < n.hidden; ++j) from_hidden_[j] = j;
        const T* const values = memory.values(weight_block);
        weight.assign(from_token_, std::span(from_hidden_).first(n.hidden), values);
        if (backward) transposed.assign(from_hidden_, std::span(from_token_).first(n.vocabulary), values);
        std::copy_n(memory.values(bias_block), n.vocabulary, bias_.zeroed(padded<T>(n.vocabulary)));
    }
    const T* bias() const { return bias_.data(); }
    const sizes& size() const { return n_; }
    /// States whose logits are computed together.
    std::size_t chunk() const { return std::clamp<std::size_t>(262144 / padded<T>(n_.vocabulary), 60, 240); }

    softmax_result<T> distribution(T inverse_temperature, T* logit, T* weights, bool entropy) const {
        return softmax(n_.vocabulary, bias(), inverse_temperature, logit, weights, entropy);
    }

    /// Calls f(output node number, logits - max, weights, softmax) for the wanted states of a level, chunk by chunk,
    /// and after each chunk done(first, count), with the states gathered in s.gathered and what f left in s.logits.
    template <class F, class Done>
    void for_each_distribution(const work<T>& w, shard<T>& s, const level_states<T>& now, std::size_t level,
                               bool entropy, F&& f, Done&& done) const {
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = padded<T>(n_.hidden), vocabulary = padded<T>(n_.vocabulary), most = chunk();
        T* const gathered = s.gathered.need(hidden * most);
        T* const logits = s.logits.need(vocabulary * most);
        T* const weights = s.weights.need(vocabulary);
        for (std::size_t first = tree.out_at[level]; first < tree.out_at[level + 1]; first += most) {
            const std::size_t n = std::min<std::size_t>(most, tree.out_at[level + 1] - first);
            for (std::size_t i = 0; i < n; ++i)
                std::copy_n(now.h(tree.out_node[first + i]), hidden, gathered + i * hidden);
            multiply(weight, gathered, hidden, n, logits, vocabulary);
            for (std::size_t i = 0; i < n; ++i) {
                T* const logit = logits + i * vocabulary;
                const T inverse = w.inverse_temperature[tree.wants_of(first + i).front().row];
                f(first + i, logit, weights, distribution(inverse, logit, weights, entropy));
            }
            done(first, n);
        }
    }

    /// Adds what the shards have gathered in d_output and d_output_bias, in their order.
    void add_gradients(parameter_memory<T>& memory, const work<T>& w) const {
        const std::size_t hidden = padded<T>(n_.hidden);
        for (std::size_t p = 0; p < w.parts(); ++p) {
            const T* const from = w.shards[p].d_output.data();
            T* const to = memory.gradients(weight_block);
            for (std::size_t v = 0; v < n_.vocabulary; ++v)
                for (std::size_t j = 0; j < n_.hidden; ++j) to[v * n_.hidden + j] += from[v * hidden + j];
            for (std::size_t v = 0; v < n_.vocabulary; ++v)
                memory.gradients(bias_block)[v] += w.shards[p].d_output_bias.data()[v];
        }
    }

    packed_matrix<T> weight, transposed;

private:
    sizes n_;
    scratch<T> bias_;
    std::vector<std::size_t> from_token_, from_hidden_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
