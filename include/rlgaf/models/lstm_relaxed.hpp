#pragma once
#include "rlgaf/backend/relaxed_rows.hpp"
#include "rlgaf/models/lstm_dense.hpp"

/// Relaxed actions of an LSTM policy, and mixtures of tokens as inputs.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Embeddings of mixtures of tokens, and their gradients. Embeddings are columns of `stride()` elements.
template <class T>
class mixed_embedding {
public:
    void assign(const T* table, const sizes& n) {
        n_ = n;
        token_.assign(padded<T>(n.vocabulary), packed_matrix<T>::none);
        element_.assign(stride(), packed_matrix<T>::none);
        for (std::size_t v = 0; v < n.vocabulary; ++v) token_[v] = v * n.embedding;
        for (std::size_t e = 0; e < n.embedding; ++e) element_[e] = e;
        mix_.assign(element_, std::span(token_).first(n.vocabulary), table);
        spread_.assign(token_, std::span(element_).first(n.embedding), table);
    }
    std::size_t stride() const { return padded<T>(n_.embedding); }

    /// x = table^T share, of n mixtures [vocabulary, n].
    void mix(const T* share, std::size_t n, T* x) const { multiply(mix_, share, n_.vocabulary, n, x, stride()); }
    /// d_share = table d_x, [padded vocabulary, n].
    void spread(const T* d_x, std::size_t n, T* d_share) const {
        multiply(spread_, d_x, stride(), n, d_share, padded<T>(n_.vocabulary));
    }
    /// d_table += share d_x^T, of the rows [vocabulary, embedding].
    void add_gradient(const T* share, const T* d_x, std::size_t n, T* d_table) {
        T* const sum = sum_.zeroed(stride() * n_.vocabulary);
        add_outer(d_x, stride(), stride(), share, n_.vocabulary, n_.vocabulary, n, sum, stride(), outer_);
        for (std::size_t v = 0; v < n_.vocabulary; ++v)
            for (std::size_t e = 0; e < n_.embedding; ++e) d_table[v * n_.embedding + e] += sum[v * stride() + e];
    }

private:
    sizes n_;
    std::vector<std::size_t> token_, element_;
    packed_matrix<T> mix_, spread_;
    scratch<T> sum_, outer_;
};

/// What backward_relaxed needs.
template <class T>
struct relaxed_tape {
    token_batch<T> hard;
    std::vector<T> soft;  ///< [tokens, vocabulary]
    relaxation_options options;
    bool filled = false;
};

/// The policy's weights as the products read them.
template <class T>
struct relaxed_weights {
    const packed_body<T>& body;
    const packed_matrix<T>&output, &output_transposed;
    const T *output_bias, *table;
    std::int32_t end_token;
    std::uint32_t max_length;
};

/// Draws relaxed rows and takes gradients back; the policy's part that it can do without when it samples tokens.
template <class T>
class relaxation {
public:
    relaxed_tape<T> forward(const relaxed_weights<T>& w, const token_prompts& prompts,
                            std::span<const std::uint64_t> id, const relaxation_options& o, rng_key key,
                            relaxed_rows<T>& out) {
        const std::size_t count = id.size(), vocabulary = w.body.size().vocabulary;
        most_ = o.max_length > 0 ? o.max_length : w.max_length;
        length_.assign(count, 0);
        token_.resize(count * most_);
        log_prob_.resize(count * most_);
        soft_.need(count * most_ * vocabulary);
        prompts_ = &prompts;
        if (reads_shares(o)) mixed_.assign(w.table, w.body.size());
        begin_parts(count, w.body.size());
        for_each_part(parts_.size(), [&](std::size_t p) { sample(w, parts_[p], id, o, key); });

        relaxed_tape<T> tape;
        tape.options = o;
        tape.filled = true;
        out.hard = {};
        out.hard.prompt = prompts;
        for (std::size_t i = 0; i < count; ++i) {
            const std::span<const std::int32_t> tokens(token_.data() + i * most_, length_[i]);
            out.hard.add(tokens, tokens.back() == w.end_token ? row_end::terminated : row_end::truncated,
                         std::span<const T>(log_prob_.data() + i * most_, length_[i]));
            append(tape.soft, std::span<const T>(soft_.data() + i * most_ * vocabulary, length_[i] * vocabulary));
        }
        tape.hard = out.hard;
        if (o.straight_through)
            out = one_hot(tape.hard, vocabulary);
        else
            out.share = tape.soft;
        out.vocabulary = vocabulary;
        out.d_share.clear();
        return tape;
    }

    void backward(const relaxed_weights<T>& w, const relaxed_tape<T>& tape, const std::vector<T>& d_share,
                  parameter_memory<T>& memory) {
        const sizes& n = w.body.size();
        prompts_ = &tape.hard.prompt;
        mixed_.assign(w.table, n);
        T* const mixed = mixed_inputs_.need(mixed_.stride() * tape.hard.token.size());
        if (reads_shares(tape.options)) mixed_.mix(tape.soft.data(), tape.hard.token.size(), mixed);
        begin_parts(rows(tape.hard), n);
        for_each_part(parts_.size(), [&](std::size_t p) { part_backward(w, parts_[p], tape, d_share); });
        for (part& p : parts_) {
            p.lstm.add_gradients(memory);
            T* const d_output = memory.gradients(first_head_block);
            for (std::size_t v = 0; v < n.vocabulary; ++v) {
                for (std::size_t j = 0; j < n.hidden; ++j)
                    d_output[v * n.hidden + j] += p.d_output.data()[v * w.body.hidden() + j];
                memory.gradients(first_head_block + 1)[v] += p.d_bias.data()[v];
            }
            for (std::size_t i = p.first; i < p.last; ++i)
                for (std::size_t t = 0; t < p.depth[i - p.first]; ++t) {
                    const T* const d_x = p.lstm.d_input(i - p.first, t);
                    const std::size_t said = prompt_length(i);
                    if (t > said && reads_shares(tape.options)) {
                        std::copy_n(d_x, mixed_.stride(),
                                    mixed + (tape.hard.offset[i] + t - 1 - said) * mixed_.stride());
                        continue;
                    }
                    const auto token = static_cast<std::size_t>(t > said ? tape.hard.row(i)[t - 1 - said]
                                                                         : said_before(i, t, n.vocabulary));
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
    /// One thread's rows.
    struct part {
        std::size_t first = 0, last = 0;
        std::vector<std::uint32_t> depth, live;
        std::vector<double> noisy;
        dense_lstm<T> lstm;
        scratch<T> x, h, c, z, logits, gathered, d_gathered, d_output, d_bias, outer;
    };

    /// Shares that are one-hot are read as tokens.
    static bool reads_shares(const relaxation_options& o) { return o.soft_inputs && !o.straight_through; }
    std::size_t prompt_length(std::size_t i) const { return rows(*prompts_) > 0 ? prompts_->row(i).size() : 0; }
    std::int32_t said_before(std::size_t i, std::size_t t, std::size_t vocabulary) const {
        return t == 0 ? static_cast<std::int32_t>(vocabulary) : prompts_->row(i)[t - 1];
    }

    /// A part is worth a thread from about ten microseconds on.
    void begin_parts(std::size_t count, const sizes& size) {
        const std::size_t worth = count * size.hidden * (4 * size.hidden + size.vocabulary) / 2000000;
        const std::size_t n = std::clamp<std::size_t>(worth, 1, threads());
        parts_.resize(n);
        for (std::size_t p = 0; p < n; ++p) {
            parts_[p].first = count * p / n;
            parts_[p].last = count * (p + 1) / n;
        }
    }

    void sample(const relaxed_weights<T>& w, part& m, std::span<const std::uint64_t> id, const relaxation_options& o,
                rng_key key) {
        const sizes& n = w.body.size();
        const std::size_t hidden = w.body.hidden(), gates = 4 * hidden, stride = gates + lanes<T>;
        const std::size_t embedding = padded<T>(n.embedding), vocabulary = padded<T>(n.vocabulary);
        const std::size_t count = m.last - m.first;
        T* const x = m.x.need(embedding * count);
        T* const h = m.h.need(hidden * count);
        T* const c = m.c.need(hidden * count);
        T* const z = m.z.need(stride * count);
        T* const logits = m.logits.need(vocabulary * count);
        m.live.clear();
        for (std::size_t i = m.first; i < m.last; ++i) m.live.push_back(static_cast<std::uint32_t>(i));
        for (std::size_t t = 0; !m.live.empty(); ++t) {
            for (std::size_t k = 0; k < m.live.size(); ++k) {
                const std::size_t i = m.live[k], said = prompt_length(i);
                std::copy_n(w.body.bias(), gates, z + k * stride);
                if (t > said && reads_shares(o))
                    mixed_.mix(soft_.data() + (i * most_ + t - 1 - said) * n.vocabulary, 1, x + k * embedding);
                else
                    std::copy_n(
                        w.table + n.embedding * static_cast<std::size_t>(t > said ? token_[i * most_ + t - 1 - said]
                                                                                  : said_before(i, t, n.vocabulary)),
                        n.embedding, x + k * embedding);
            }
            multiply(w.body.input, x, embedding, m.live.size(), z, stride, true);
            if (t > 0) multiply(w.body.recurrent, h, hidden, m.live.size(), z, stride, true);
            for (std::size_t k = 0; k < m.live.size(); ++k)
                cell<T>(hidden, nullptr, z + k * stride, t > 0 ? c + k * hidden : nullptr, nullptr, c + k * hidden,
                        h + k * hidden);
            multiply(w.output, h, hidden, m.live.size(), logits, vocabulary);
            std::size_t kept = 0;
            for (std::size_t k = 0; k < m.live.size(); ++k) {
                const std::uint32_t i = m.live[k];
                const std::size_t said = prompt_length(i);
                if (t >= said) {
                    const bool ended = draw(w, m, i, t - said, random_stream(key, stream::gumbel, id[i]),
                                            o.inverse_temperature, logits + k * vocabulary);
                    length_[i] = static_cast<std::uint32_t>(t - said + 1);
                    if (ended || length_[i] == most_) continue;
                }
                if (kept != k) {
                    std::copy_n(h + k * hidden, hidden, h + kept * hidden);
                    std::copy_n(c + k * hidden, hidden, c + kept * hidden);
                }
                m.live[kept++] = i;
            }
            m.live.resize(kept);
        }
    }

    /// Action t of row i. True if it ends the row.
    bool draw(const relaxed_weights<T>& w, part& m, std::size_t i, std::size_t t, const random_stream& random,
              double inverse_temperature, const T* logit) {
        const std::size_t n = w.body.size().vocabulary, at = i * most_ + t;
        const auto value = [&](std::size_t v) {
            return static_cast<double>(logit[v]) + static_cast<double>(w.output_bias[v]);
        };
        m.noisy.resize(n);
        double largest = value(0);
        std::size_t token = 0;
        for (std::size_t v = 0; v < n; ++v) {
            largest = std::fmax(largest, value(v));
            m.noisy[v] = value(v) + gumbel(random, std::uint64_t{t} * n + v);
            if (m.noisy[v] > m.noisy[token]) token = v;
        }
        double sum = 0, noisy_sum = 0;
        T* const soft = soft_.data() + at * n;
        for (std::size_t v = 0; v < n; ++v) {
            sum += std::exp(value(v) - largest);
            const double share = std::exp(inverse_temperature * (m.noisy[v] - m.noisy[token]));
            noisy_sum += share;
            soft[v] = static_cast<T>(share);
        }
        for (std::size_t v = 0; v < n; ++v) soft[v] = static_cast<T>(static_cast<double>(soft[v]) / noisy_sum);
        token_[at] = static_cast<std::int32_t>(token);
        log_prob_[at] = static_cast<T>(value(token) - largest - std::log(sum));
        return token_[at] == w.end_token;
    }

    /// States are computed anew, now that lengths are known. d logit = inverse_temperature soft (d - sum of soft d).
    void part_backward(const relaxed_weights<T>& w, part& m, const relaxed_tape<T>& tape,
                       const std::vector<T>& d_share) {
        const sizes& n = w.body.size();
        const std::size_t hidden = w.body.hidden(), vocabulary = padded<T>(n.vocabulary), count = m.last - m.first;
        m.depth.clear();
        for (std::size_t i = m.first; i < m.last; ++i)
            m.depth.push_back(static_cast<std::uint32_t>(prompt_length(i)) + tape.hard.length[i]);
        m.lstm.assign(m.depth, n);
        for (std::size_t k = 0; k < count; ++k)
            for (std::size_t i = m.first + k, said = prompt_length(i), t = 0; t < m.depth[k]; ++t) {
                const T* from = w.table;
                if (t <= said)
                    from += n.embedding * static_cast<std::size_t>(said_before(i, t, n.vocabulary));
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
                if (t < m.depth[k] && t >= prompt_length(m.first + k)) m.live.push_back(static_cast<std::uint32_t>(k));
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
                const std::size_t at = (tape.hard.offset[i] + t - prompt_length(i)) * n.vocabulary;
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
            multiply(w.output_transposed, d_logits, vocabulary, m.live.size(), d_gathered, hidden);
            for (std::size_t j = 0; j < m.live.size(); ++j)
                add_scaled(hidden, T{1}, d_gathered + j * hidden, m.lstm.d_state(m.live[j], t));
            m.lstm.backward_step(w.body, t);
        }
    }

    std::vector<part> parts_;
    mixed_embedding<T> mixed_;
    scratch<T> soft_, mixed_inputs_;  ///< [rows, most, vocabulary]; [embedding, tokens]
    std::vector<std::uint32_t> length_;
    std::vector<std::int32_t> token_;
    std::vector<T> log_prob_;
    std::size_t most_ = 0;
    const token_prompts* prompts_ = nullptr;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
