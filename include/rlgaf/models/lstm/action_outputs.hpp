#pragma once
#include "rlgaf/models/lstm/softmax_head.hpp"
#include "rlgaf/models/lstm/through_time.hpp"

/// Log-probs and entropies of actions, and their gradients, of one shard.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

template <class T>
void forward_actions(const packed_body<T>& body, const softmax_head<T>& head, work<T>& w, shard<T>& s,
                     const policy_outputs<T>& out, bool keep) {
    const std::size_t vocabulary = head.size().vocabulary;
    T* const show = w.shown.empty() ? nullptr : w.shown.data();
    forward(body, s, keep, [&](std::size_t level, const level_states<T>& now) {
        head.for_each_distribution(
            w, s, now, level, !out.entropy.empty(),
            [&](std::size_t i, const T* logit, const T*, const softmax_result<T>& p) {
                for (const wanted& want : s.tree.wants_of(i)) {
                    if (!out.log_prob.empty())
                        out.log_prob.row(want.row)[want.t] =
                            static_cast<T>(static_cast<double>(logit[want.action]) - p.log_sum);
                    if (!out.entropy.empty()) out.entropy.row(want.row)[want.t] = static_cast<T>(p.entropy);
                    if (show)
                        for (std::size_t v = 0; v < vocabulary; ++v)
                            show[(w.first[want.row] + want.t) * vocabulary + v] = logit[v] + static_cast<T>(p.max);
                }
            },
            [](std::size_t, std::size_t) {});
    });
}

/// In place of logits - max: d logit = (sum over the state's actions of d log_prob (1[action] - p)
///                                     - d entropy p (log p + H)) / temperature.
template <class T>
void differentiate_actions(std::span<const wanted> wants, T inverse_temperature, std::size_t padded_vocabulary,
                           const policy_cotangents<T>& c, const softmax_result<T>& p, const T* weight, T* logit) {
    double d_log_prob = 0, d_entropy = 0;
    for (const wanted& want : wants) {
        if (!c.d_log_prob.empty()) d_log_prob += static_cast<double>(c.d_log_prob.row(want.row)[want.t]);
        if (!c.d_entropy.empty()) d_entropy += static_cast<double>(c.d_entropy.row(want.row)[want.t]);
    }
    const double scale = static_cast<double>(inverse_temperature) / p.sum;
    softmax_backward(padded_vocabulary, static_cast<T>(-scale * d_entropy),
                     static_cast<T>(-scale * (d_log_prob + d_entropy * (p.entropy - p.log_sum))), weight, logit);
    if (c.d_log_prob.empty()) return;
    for (const wanted& want : wants) logit[want.action] += inverse_temperature * c.d_log_prob.row(want.row)[want.t];
}

/// Leaves the head's gradients in s.d_output and s.d_output_bias.
template <class T>
void backward_actions(const packed_body<T>& body, const softmax_head<T>& head, const work<T>& w, shard<T>& s,
                      const policy_cotangents<T>& c) {
    const prefix_tree& tree = s.tree;
    const sizes& size = head.size();
    const std::size_t hidden = body.hidden(), vocabulary = padded<T>(size.vocabulary);
    T* const d_output = s.d_output.zeroed(hidden * size.vocabulary);
    T* const d_bias = s.d_output_bias.zeroed(vocabulary);
    T* const d_gathered = s.d_gathered.need(hidden * head.chunk());
    backward(body, s, [&](std::size_t level, const level_states<T>& now, T* d_h) {
        head.for_each_distribution(
            w, s, now, level, !c.d_entropy.empty(),
            [&](std::size_t i, T* logit, const T* weight, const softmax_result<T>& p) {
                const auto wants = tree.wants_of(i);
                const T inverse = w.inverse_temperature[wants.front().row];
                differentiate_actions(wants, inverse, vocabulary, c, p, weight, logit);
                if (!w.d_shown.empty())
                    for (const wanted& want : wants)
                        for (std::size_t v = 0; v < size.vocabulary; ++v)
                            logit[v] += inverse * w.d_shown[(w.first[want.row] + want.t) * size.vocabulary + v];
                add_scaled(vocabulary, T{1}, logit, d_bias);
            },
            [&](std::size_t first, std::size_t n) {
                add_outer(s.gathered.data(), hidden, hidden, s.logits.data(), vocabulary, size.vocabulary, n, d_output,
                          hidden, s.outer);
                multiply(head.transposed, s.logits.data(), vocabulary, n, d_gathered, hidden);
                for (std::size_t i = 0; i < n; ++i)
                    add_scaled(hidden, T{1}, d_gathered + i * hidden,
                               d_h + tree.place(level, tree.out_node[first + i]) * hidden);
            });
    });
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
