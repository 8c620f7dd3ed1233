#pragma once
#include "rlgaf/models/lstm/cell.hpp"
#include "rlgaf/models/lstm/mixed_embedding.hpp"
#include "rlgaf/models/lstm/relaxed_tape.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Draws relaxed rows: a policy's part that it can do without when it samples tokens.
template <class T>
class gumbel_rollout {
public:
    relaxed_tape<T> run(const relaxed_weights<T>& w, const token_prompts& prompts, std::span<const std::uint64_t> id,
                        const relaxation_options& o, rng_key key, relaxed_rows<T>& out) {
        const std::size_t count = id.size(), vocabulary = w.body.size().vocabulary;
        most_ = o.max_length > 0 ? o.max_length : w.max_length;
        length_.assign(count, 0);
        token_.resize(count * most_);
        log_prob_.resize(count * most_);
        soft_.need(count * most_ * vocabulary);
        if (reads_shares(o)) mixed_.assign(w.table, w.body.size());
        cut_rows(count, w.size(), range_);
        if (memory_.size() < range_.size()) memory_.resize(range_.size());
        const opening said{prompts, vocabulary};
        for_each_part(range_.size(), [&](std::size_t p) { sample(w, said, range_[p], memory_[p], id, o, key); });

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

private:
    struct memory {
        std::vector<std::uint32_t> live;
        std::vector<double> noisy;
        scratch<T> x, h, c, z, logits;
    };

    void sample(const relaxed_weights<T>& w, const opening& before, const row_range& r, memory& m,
                std::span<const std::uint64_t> id, const relaxation_options& o, rng_key key) {
        const sizes& n = w.body.size();
        const std::size_t hidden = w.body.hidden(), gates = 4 * hidden, stride = gates + lanes<T>;
        const std::size_t embedding = padded<T>(n.embedding), vocabulary = padded<T>(n.vocabulary);
        const std::size_t count = r.last - r.first;
        T* const x = m.x.need(embedding * count);
        T* const h = m.h.need(hidden * count);
        T* const c = m.c.need(hidden * count);
        T* const z = m.z.need(stride * count);
        T* const logits = m.logits.need(vocabulary * count);
        m.live.clear();
        for (std::size_t i = r.first; i < r.last; ++i) m.live.push_back(static_cast<std::uint32_t>(i));
        for (std::size_t t = 0; !m.live.empty(); ++t) {
            for (std::size_t k = 0; k < m.live.size(); ++k) {
                const std::size_t i = m.live[k], said = before.length(i);
                std::copy_n(w.body.bias(), gates, z + k * stride);
                if (t > said && reads_shares(o))
                    mixed_.mix(soft_.data() + (i * most_ + t - 1 - said) * n.vocabulary, 1, x + k * embedding);
                else
                    std::copy_n(
                        w.table + n.embedding * (t > said ? static_cast<std::size_t>(token_[i * most_ + t - 1 - said])
                                                          : before.token(i, t)),
                        n.embedding, x + k * embedding);
            }
            multiply(w.body.input, x, embedding, m.live.size(), z, stride, true);
            if (t > 0) multiply(w.body.recurrent, h, hidden, m.live.size(), z, stride, true);
            for (std::size_t k = 0; k < m.live.size(); ++k)
                cell<T>(hidden, nullptr, z + k * stride, t > 0 ? c + k * hidden : nullptr, nullptr, c + k * hidden,
                        h + k * hidden);
            multiply(w.head.weight, h, hidden, m.live.size(), logits, vocabulary);
            std::size_t kept = 0;
            for (std::size_t k = 0; k < m.live.size(); ++k) {
                const std::uint32_t i = m.live[k];
                const std::size_t said = before.length(i);
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
    bool draw(const relaxed_weights<T>& w, memory& m, std::size_t i, std::size_t t, const random_stream& random,
              double inverse_temperature, const T* logit) {
        const std::size_t n = w.body.size().vocabulary, at = i * most_ + t;
        const auto value = [&](std::size_t v) {
            return static_cast<double>(logit[v]) + static_cast<double>(w.head.bias()[v]);
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

    std::vector<row_range> range_;
    std::vector<memory> memory_;
    mixed_embedding<T> mixed_;
    scratch<T> soft_;  ///< [rows, most, vocabulary]
    std::vector<std::uint32_t> length_;
    std::vector<std::int32_t> token_;
    std::vector<T> log_prob_;
    std::size_t most_ = 0;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
