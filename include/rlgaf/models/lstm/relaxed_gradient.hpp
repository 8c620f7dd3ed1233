#pragma once
#include "rlgaf/models/lstm/mixed_embedding.hpp"
#include "rlgaf/models/lstm/relaxed_tape.hpp"
#include "rlgaf/models/lstm_dense.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Takes the gradient by relaxed rows back to the policy's parameters.
template <class T>
class relaxed_gradient {
public:
    void run(const relaxed_weights<T>& w, const relaxed_tape<T>& tape, const std::vector<T>& d_share,
             parameter_memory<T>& memory) {
        const sizes& n = w.body.size();
        const opening before{tape.hard.prompt, n.vocabulary};
        mixed_.assign(w.table, n);
        T* const mixed = mixed_inputs_.need(mixed_.stride() * tape.hard.token.size());
        if (reads_shares(tape.options)) mixed_.mix(tape.soft.data(), tape.hard.token.size(), mixed);
        cut_rows(rows(tape.hard), n, range_);
        parts_.resize(range_.size());
        for_each_part(parts_.size(), [&](std::size_t p) {
            static_cast<row_range&>(parts_[p]) = range_[p];
            through_rows(w, before, parts_[p], tape, d_share);
        });
        for (part& p : parts_) {
            p.lstm.add_gradients(memory);
            T* const d_output = memory.gradients(softmax_head<T>::weight_block);
            for (std::size_t v = 0; v < n.vocabulary; ++v) {
                for (std::size_t j = 0; j < n.hidden; ++j)
                    d_output[v * n.hidden + j] += p.d_output.data()[v * w.body.hidden() + j];
                memory.gradients(softmax_head<T>::bias_block)[v] += p.d_bias.data()[v];
            }
            for (std::size_t i = p.first; i < p.last; ++i)
                for (std::size_t t = 0; t < p.depth[i - p.first]; ++t) {
                    const T* const d_x = p.lstm.d_input(i - p.first, t);
                    const std::size_t said = before.length(i);
                    if (t > said && reads_shares(tape.options)) {
                        std::copy_n(d_x, mixed_.stride(),
                                    mixed + (tape.hard.offset[i] + t - 1 - said) * mixed_.stride());
                        continue;
                    }
                    const std::size_t token =
                        t > said ? static_cast<std::size_t>(tape.hard.row(i)[t - 1 - said]) : before.token(i, t);
                    T* const to = memory.gradients(embedding_block) + token * n.embedding;
                    for (std::size_t e = 0; e < n.embedding; ++e) to[e] += d_x[e];
                }
        }
        if (!reads_shares(tape.options)) return;
        for (std::size_t i = 0; i < rows(tape.hard); ++i)  // nothing reads a row's last action
            std::fill_n(mixed + (tape.hard.offset[i + 1] - 1) * mixed_.stride(), mixed_.stride(), T{0});
        mixed_.add_gradient(tape.soft.data(), mixed, tape.hard.token.size(), memory.gradients(embedding_block));
    }

private:
    struct part : row_range {
        std::vector<std::uint32_t> depth, live;
        dense_lstm<T> lstm;
        scratch<T> x, logits, gathered, d_gathered, d_output, d_bias, outer;
    };

    /// States are computed anew, now that lengths are known. d logit = inverse_temperature soft (d - sum of soft d).
    void through_rows(const relaxed_weights<T>& w, const opening& before, part& m, const relaxed_tape<T>& tape,
                      const std::vector<T>& d_share) {
        const sizes& n = w.body.size();
        const std::size_t hidden = w.body.hidden(), vocabulary = padded<T>(n.vocabulary), count = m.last - m.first;
        m.depth.clear();
        for (std::size_t i = m.first; i < m.last; ++i)
            m.depth.push_back(static_cast<std::uint32_t>(before.length(i)) + tape.hard.length[i]);
        m.lstm.assign(m.depth, n);
        for (std::size_t k = 0; k < count; ++k)
            for (std::size_t i = m.first + k, said = before.length(i), t = 0; t < m.depth[k]; ++t) {
                const T* from = w.table;
                if (t <= said)
                    from += n.embedding * before.token(i, t);
                else if (reads_shares(tape.options))
                    from = mixed_inputs_.data() + (tape.hard.offset[i] + t - 1 - said) * mixed_.stride();
                else
                    from += n.embedding * static_cast<std::size_t>(tape.hard.row(i)[t - 1 - said]);
                std::copy_n(from, n.embedding, m.lstm.input(k, t));
            }
        m.lstm.forward(w.body);
        m.lstm.begin_backward(true);
        T* const d_output = m.d_output.zeroed(hidden * n.vocabulary);
        T* const d_bias = m.d_bias.zeroed(vocabulary);
        T* const d_x = m.x.need(mixed_.stride() * count);
        T* const d_logits = m.logits.need(vocabulary * count);
        T* const gathered = m.gathered.need(hidden * count);
        T* const d_gathered = m.d_gathered.need(hidden * count);
        for (std::size_t t = m.lstm.steps(); t-- > 0;) {
            m.live.clear();
            for (std::size_t k = 0; k < count; ++k)
                if (t < m.depth[k] && t >= before.length(m.first + k)) m.live.push_back(static_cast<std::uint32_t>(k));
            std::fill_n(d_logits, vocabulary * m.live.size(), T{0});
            if (tape.options.soft_inputs) {
                std::fill_n(d_x, mixed_.stride() * m.live.size(), T{0});
                for (std::size_t j = 0; j < m.live.size(); ++j)
                    if (t + 1 < m.depth[m.live[j]])
                        std::copy_n(m.lstm.d_input(m.live[j], t + 1), mixed_.stride(), d_x + j * mixed_.stride());
                mixed_.spread(d_x, m.live.size(), d_logits);
            }
            for (std::size_t j = 0; j < m.live.size(); ++j) {
                const std::size_t k = m.live[j], i = m.first + k;
                const std::size_t at = (tape.hard.offset[i] + t - before.length(i)) * n.vocabulary;
                const T* const soft = tape.soft.data() + at;
                T* const d = d_logits + j * vocabulary;
                double mean = 0;
                for (std::size_t v = 0; v < n.vocabulary; ++v) {
                    if (!d_share.empty()) d[v] += d_share[at + v];
                    mean += static_cast<double>(soft[v]) * static_cast<double>(d[v]);
                }
                for (std::size_t v = 0; v < n.vocabulary; ++v) {
                    d[v] = static_cast<T>(tape.options.inverse_temperature * static_cast<double>(soft[v]) *
                                          (static_cast<double>(d[v]) - mean));
                    d_bias[v] += d[v];
                }
                std::copy_n(m.lstm.state(k, t), hidden, gathered + j * hidden);
            }
            add_outer(gathered, hidden, hidden, d_logits, vocabulary, n.vocabulary, m.live.size(), d_output, hidden,
                      m.outer);
            multiply(w.head.transposed, d_logits, vocabulary, m.live.size(), d_gathered, hidden);
            for (std::size_t j = 0; j < m.live.size(); ++j)
                add_scaled(hidden, T{1}, d_gathered + j * hidden, m.lstm.d_state(m.live[j], t));
            m.lstm.backward_step(w.body, t);
        }
    }

    std::vector<row_range> range_;
    std::vector<part> parts_;
    mixed_embedding<T> mixed_;
    scratch<T> mixed_inputs_;  ///< [embedding, tokens]
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
