#pragma once
#include <numeric>
#include <utility>

#include "rlgaf/backend/optimizer.hpp"
#include "rlgaf/models/lstm_relaxed.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct lstm_options {
    std::size_t vocabulary = 0;     ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;     ///< >= 1
    std::size_t hidden = 256;       ///< >= 1; a multiple of 16 is fastest
    std::int32_t end_token = 0;     ///< ends a row, as its last action; in 0 .. vocabulary - 1
    std::uint32_t max_length = 16;  ///< actions a row where rollout_options::max_length is 0; >= 1
    std::uint64_t seed = 0;         ///< of the first parameters
    adamw optimizer{};              ///< used by step

    void check() const {
        const auto at_least_one = [](std::size_t n, const char* field) {
            detail::check_option(n >= 1, "lstm_options", field, "at least 1", static_cast<double>(n));
        };
        at_least_one(vocabulary, "vocabulary");
        at_least_one(embedding, "embedding");
        at_least_one(hidden, "hidden");
        at_least_one(max_length, "max_length");
        detail::check_option(end_token >= 0 && static_cast<std::size_t>(end_token) < vocabulary, "lstm_options",
                             "end_token", "in 0 .. vocabulary - 1", static_cast<double>(end_token));
        optimizer.check();
    }
};

template <class T>
class lstm_scorer;

/// A language model with one LSTM layer, for small vocabularies and short rows: words, moves, melodies.
///
/// Formula: x_0 = start, then the prompt's tokens, then the actions; z_t = embedding(x_t) input + h_{t-1} recurrent +
///          bias; (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(z_t); c_t = f c_{t-1} + i g; h_t = o tanh(c_t);
///          p(action) = softmax((h_t output + output_bias) / temperature).
/// Shapes:  parameters() are embedding [V + 1, E] (last row: start), input [E, 4H], recurrent [H, 4H], bias [4H],
///          output [V, H], output_bias [V].
/// Adds:    backward adds to the gradients in parameters().
/// Units:   nats. Log-probs and entropies are those of each row's own temperature. A rollout that truncates (top_k,
///          top_p) stores the log-probs that it sampled with: of the tempered distribution, renormalised over what was
///          kept.
/// Errors:  shape_error, numeric_error (a token out of range), option_error.
/// Needs:   one thread at a time: calls share memory. Parameters stay as they are while a tape lives.
/// Threads: OpenMP, if enabled, over the rows. Outputs do not depend on the number of threads or on the other rows, to
///          the bit; gradients depend on the number of threads, by rounding.
/// Source:  Hochreiter and Schmidhuber 1997, "Long short-term memory"; forget gate: Gers, Schmidhuber, Cummins 2000,
///          its bias of 1: Jozefowicz, Zaremba, Sutskever 2015.
template <class T>
class lstm_policy {
public:
    using scalar = T;
    using batch = token_batch<T>;
    using prompts = token_prompts;
    using relaxed = relaxed_rows<T>;
    using relaxed_tape = detail::lstm::relaxed_tape<T>;  ///< to be handed to backward_relaxed
    static constexpr bool gives_entropy = true;
    static constexpr bool per_sample_streams = true;

    /// What backward needs. To be handed to `backward` of the policy that made it.
    class tape {
        friend class lstm_policy;
        std::unique_ptr<detail::lstm::work<T>> work_;
    };

    explicit lstm_policy(const lstm_options& options) : options_(options) {
        options.check();
        detail::lstm::add_body(memory_, body_sizes(), options.seed);
        memory_.add("output", {options.vocabulary, options.hidden});
        memory_.add("output_bias", {options.vocabulary});
        memory_.randomize(output_block, 1 / std::sqrt(static_cast<double>(options.hidden)), options.seed);
    }

    /// One row for each id: row i answers prompt i, or there are no prompts.
    /// Errors: shape_error, option_error, numeric_error.
    batch rollout(const prompts& p, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        if (rows(p) > 0) detail::check_size(rows(p), id.size(), "lstm_policy::rollout", "prompts");
        call_.starts = batch{};
        for (std::size_t i = 0; i < id.size(); ++i) call_.starts.add({}, row_end::truncated);
        if (rows(p) > 0) call_.starts.prompt = p;
        return sample(call_.starts, id, o, random_of{key, stream::rollout});
    }

    /// Row i of the result begins with prefix i and ends after max_length actions at most, the prefix included. A row
    /// that had ended stays as it is. What is kept keeps its log-probs; where b has none, it gets the policy's own, at
    /// the sampling temperature. Prefixes that begin alike share their states, and so do their continuations.
    /// Errors: shape_error, option_error, numeric_error.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        detail::check_size(from.size(), id.size(), "lstm_policy::rollout_from", "from");
        call_.starts = prefixes(b, from);
        if (call_.starts.log_prob.size() < call_.starts.token.size()) {
            call_.starts.temperature.assign(from.size(), o.temperature);
            call_.starts.log_prob.resize(call_.starts.token.size());
            evaluate(call_.starts, {.log_prob = ragged_view<T>::packed(call_.starts.log_prob.data(),
                                                                       std::span(call_.starts.offset))});
        }
        return sample(call_.starts, id, o, random_of{key, stream::rollout_from});
    }

    /// Errors: shape_error, numeric_error; option_error where values are asked for.
    void evaluate(const batch& b, policy_outputs<T> out) { call_.pool.give_back(run(b, out, false)); }

    tape forward(const batch& b, policy_outputs<T> out) {
        tape t;
        t.work_ = run(b, out, true);
        return t;
    }

    /// Errors: shape_error.
    void backward(tape&& t, policy_cotangents<T> c) {
        using namespace detail::lstm;
        if (!t.work_) [[unlikely]]
            fail(error_kind::shape, "lstm_policy::backward", "tape", "a tape of forward", "one that was used");
        check_cotangent(*t.work_, c.d_log_prob, "d_log_prob");
        check_cotangent(*t.work_, c.d_entropy, "d_entropy");
        if (!c.d_value.empty()) [[unlikely]]
            fail(error_kind::option, "lstm_policy::backward", "d_value", "nothing: this policy gives no values",
                 "gradients");
        std::unique_ptr<work<T>> w = std::move(t.work_);
        if (!c.d_log_prob.empty() || !c.d_entropy.empty()) {
            pack(true);
            for_each_part(w->parts(), [&](std::size_t i) { part_backward(*w, w->shards[i], c); });
            add_gradients(*w);
        }
        call_.pool.give_back(std::move(w));
    }

    /// Draws rows of shares, one for each id, as relaxation_options says; `out` is overwritten. Unless the policy goes on
    /// from soft shares, the tokens drawn are a sample as a rollout's at temperature 1 are, of noise of its own
    /// (stream::gumbel). Log-probs are those that the tokens were drawn with.
    /// Errors: shape_error, option_error, numeric_error.
    relaxed_tape forward_relaxed(const prompts& p, std::span<const std::uint64_t> id, const relaxation_options& o,
                                 rng_key key, relaxed& out) {
        o.check();
        if (rows(p) > 0) detail::check_size(rows(p), id.size(), "lstm_policy::forward_relaxed", "prompts");
        for (const std::int32_t token : p.token)
            if (token < 0 || static_cast<std::size_t>(token) >= options_.vocabulary) [[unlikely]]
                fail(error_kind::numeric, "lstm_policy::forward_relaxed", "prompts",
                     short_text("tokens in 0 .. ", options_.vocabulary - 1), short_text(token));
        pack(false);
        return call_.relaxation.forward(relaxed_weights(), p, id, o, key, out);
    }
    /// Adds the gradient that x.d_share says, the noise and the tokens drawn held fixed.
    /// Errors: shape_error.
    void backward_relaxed(relaxed_tape&& t, const relaxed& x) {
        if (!t.filled) [[unlikely]]
            fail(error_kind::shape, "lstm_policy::backward_relaxed", "tape", "a tape of forward_relaxed",
                 "one that was used");
        if (!x.d_share.empty())
            detail::check_size(x.d_share.size(), t.soft.size(), "lstm_policy::backward_relaxed", "d_share");
        const relaxed_tape used = std::exchange(t, {});
        if (x.d_share.empty()) return;
        pack(false);
        pack(true);
        call_.relaxation.backward(relaxed_weights(), used, x.d_share, memory_);
    }

    step_report step(const step_options& o) { return options_.optimizer(optimizer_state_, memory_.blocks(), o); }
    void discard() { memory_.clear_gradients(); }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    lstm_policy clone() const {
        lstm_policy copy = *this;
        copy.discard();
        copy.optimizer_state_ = {};
        return copy;
    }

    std::span<const parameter_block<T>> parameters() { return memory_.blocks(); }
    adamw::state<T>& optimizer_state() { return optimizer_state_; }
    const lstm_options& options() const { return options_; }

private:
    friend class lstm_scorer<T>;
    static constexpr std::size_t output_block = detail::lstm::first_head_block, output_bias_block = output_block + 1;

    struct random_of {
        rng_key key;
        stream which;
    };

    detail::lstm::sizes body_sizes() const { return {options_.vocabulary, options_.embedding, options_.hidden}; }

    void pack(bool backward) {
        using namespace detail::lstm;
        const std::size_t vocabulary = options_.vocabulary, hidden = options_.hidden;
        call_.body.assign(memory_, body_sizes(), backward);
        call_.from_token.assign(padded<T>(vocabulary), packed_matrix<T>::none);
        call_.from_hidden.assign(call_.body.hidden(), packed_matrix<T>::none);
        for (std::size_t v = 0; v < vocabulary; ++v) call_.from_token[v] = v * hidden;
        for (std::size_t j = 0; j < hidden; ++j) call_.from_hidden[j] = j;
        call_.output.assign(call_.from_token, std::span(call_.from_hidden).first(hidden), memory_.values(output_block));
        if (backward)
            call_.output_transposed.assign(call_.from_hidden, std::span(call_.from_token).first(vocabulary),
                                           memory_.values(output_block));
        std::copy_n(memory_.values(output_bias_block), vocabulary, call_.output_bias.zeroed(padded<T>(vocabulary)));
    }

    detail::lstm::relaxed_weights<T> relaxed_weights() const {
        return {call_.body,
                call_.output,
                call_.output_transposed,
                call_.output_bias.data(),
                memory_.values(detail::lstm::embedding_block),
                options_.end_token,
                options_.max_length};
    }

    /// States whose logits are computed together.
    std::size_t chunk() const {
        return std::clamp<std::size_t>(262144 / detail::lstm::padded<T>(options_.vocabulary), 60, 240);
    }

    void check_output(const batch& b, const ragged_view<T>& x, const char* argument) const {
        detail::check_same_shape_if_given(tokens(b), x, "lstm_policy::evaluate", argument);
    }
    static void check_cotangent(const detail::lstm::work<T>& w, const ragged_view<const T>& x, const char* argument) {
        if (x.empty()) return;
        detail::check_size(x.rows(), w.length.size(), "lstm_policy::backward", argument);
        for (std::size_t i = 0; i < w.length.size(); ++i)
            if (x.length(i) != w.length[i]) [[unlikely]]
                fail(error_kind::shape, "lstm_policy::backward", std::string(argument) + " row " + std::to_string(i),
                     std::to_string(w.length[i]) + " tokens", std::to_string(x.length(i)));
    }

    std::unique_ptr<detail::lstm::work<T>> run(const batch& b, policy_outputs<T> out, bool keep) {
        using namespace detail::lstm;
        check_output(b, out.log_prob, "log_prob");
        check_output(b, out.entropy, "entropy");
        if (!out.value.empty()) [[unlikely]]
            fail(error_kind::option, "lstm_policy::evaluate", "value", "nothing: this policy gives no values",
                 "a view");
        std::unique_ptr<work<T>> w = call_.pool.take();
        w->inverse_temperature.resize(rows(b));
        w->length.assign(b.length.begin(), b.length.end());
        for (std::size_t i = 0; i < rows(b); ++i) {
            detail::check_option(b.temperature[i] > 0, "lstm_policy::evaluate", "batch.temperature", "positive",
                                 b.temperature[i]);
            w->inverse_temperature[i] = static_cast<T>(1 / b.temperature[i]);
            if (b.length[i] == 0) continue;
            sequence& s = add_sequence(*w, b, i, options_.vocabulary, "lstm_policy::evaluate");
            s.out_first = s.depth - 1;
            s.out_count = b.length[i];
            s.depth += b.length[i] - 1;  // the last action is not read
            s.key = b.temperature[i];
        }
        w->plan(threads(), body_sizes());
        pack(false);
        for_each_part(w->parts(), [&](std::size_t i) {
            w->build(i);
            part_forward(*w, w->shards[i], out, keep);
        });
        return w;
    }

    /// Calls f(output node number, logits - max, weights, softmax) for the wanted states of a level, chunk by chunk,
    /// and after each chunk done(first, count), with the states gathered in s.gathered.
    template <class F, class Done>
    void for_each_distribution(detail::lstm::work<T>& w, detail::lstm::shard<T>& s,
                               const detail::lstm::level_states<T>& now, std::size_t level, bool entropy, F&& f,
                               Done&& done) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden(), vocabulary = padded<T>(options_.vocabulary), most = chunk();
        T* const gathered = s.gathered.need(hidden * most);
        T* const logits = s.logits.need(vocabulary * most);
        T* const weights = s.weights.need(vocabulary);
        for (std::size_t first = tree.out_at[level]; first < tree.out_at[level + 1]; first += most) {
            const std::size_t n = std::min<std::size_t>(most, tree.out_at[level + 1] - first);
            for (std::size_t i = 0; i < n; ++i)
                std::copy_n(now.h(tree.out_node[first + i]), hidden, gathered + i * hidden);
            multiply(call_.output, gathered, hidden, n, logits, vocabulary);
            for (std::size_t i = 0; i < n; ++i) {
                T* const logit = logits + i * vocabulary;
                const T inverse = w.inverse_temperature[tree.wants[tree.wanted_at[first + i]].row];
                f(first + i, logit, weights,
                  softmax(options_.vocabulary, call_.output_bias.data(), inverse, logit, weights, entropy));
            }
            done(first, n);
        }
    }

    void part_forward(detail::lstm::work<T>& w, detail::lstm::shard<T>& s, const policy_outputs<T>& out, bool keep) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        detail::lstm::forward(call_.body, s, keep, [&](std::size_t level, const level_states<T>& now) {
            for_each_distribution(
                w, s, now, level, !out.entropy.empty(),
                [&](std::size_t i, const T* logit, const T*, const softmax_result<T>& p) {
                    for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                        const wanted& want = tree.wants[k];
                        if (!out.log_prob.empty())
                            out.log_prob.row(want.row)[want.t] =
                                static_cast<T>(static_cast<double>(logit[want.action]) - p.log_sum);
                        if (!out.entropy.empty()) out.entropy.row(want.row)[want.t] = static_cast<T>(p.entropy);
                    }
                },
                [](std::size_t, std::size_t) {});
        });
    }

    void part_backward(detail::lstm::work<T>& w, detail::lstm::shard<T>& s, const policy_cotangents<T>& c) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden(), vocabulary = padded<T>(options_.vocabulary);
        T* const d_output = s.d_output.zeroed(hidden * options_.vocabulary);
        T* const d_bias = s.d_output_bias.zeroed(vocabulary);
        T* const d_gathered = s.d_gathered.need(hidden * chunk());
        detail::lstm::backward(call_.body, s, [&](std::size_t level, const level_states<T>& now, T* d_h) {
            for_each_distribution(
                w, s, now, level, !c.d_entropy.empty(),
                [&](std::size_t i, T* logit, const T* weight, const softmax_result<T>& p) {
                    double d_log_prob = 0, d_entropy = 0;
                    for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                        const wanted& want = tree.wants[k];
                        if (!c.d_log_prob.empty())
                            d_log_prob += static_cast<double>(c.d_log_prob.row(want.row)[want.t]);
                        if (!c.d_entropy.empty()) d_entropy += static_cast<double>(c.d_entropy.row(want.row)[want.t]);
                    }
                    // d logit = (sum over actions of d log_prob (1[action] - p) - d entropy p (log p + H)) /
                    // temperature
                    const T inverse = w.inverse_temperature[tree.wants[tree.wanted_at[i]].row];
                    const double scale = static_cast<double>(inverse) / p.sum;
                    softmax_backward(vocabulary, static_cast<T>(-scale * d_entropy),
                                     static_cast<T>(-scale * (d_log_prob + d_entropy * (p.entropy - p.log_sum))),
                                     weight, logit);
                    if (!c.d_log_prob.empty())
                        for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                            const wanted& want = tree.wants[k];
                            logit[want.action] += inverse * c.d_log_prob.row(want.row)[want.t];
                        }
                    add_scaled(vocabulary, T{1}, logit, d_bias);
                },
                [&](std::size_t first, std::size_t n) {
                    add_outer(s.gathered.data(), hidden, hidden, s.logits.data(), vocabulary, options_.vocabulary, n,
                              d_output, hidden, s.outer);
                    multiply(call_.output_transposed, s.logits.data(), vocabulary, n, d_gathered, hidden);
                    const std::size_t inner = tree.inner_at[level + 1] - tree.inner_at[level];
                    for (std::size_t i = 0; i < n; ++i) {
                        const std::uint32_t node = tree.out_node[first + i];
                        const std::size_t at =
                            node < tree.inner() ? node - tree.inner_at[level] : inner + node - tree.leaf_at[level];
                        add_scaled(hidden, T{1}, d_gathered + i * hidden, d_h + at * hidden);
                    }
                });
        });
    }

    void add_gradients(detail::lstm::work<T>& w) {
        add_body_gradients(memory_, call_.body, w, detail::lstm::threads());
        for (std::size_t p = 0; p < w.parts(); ++p) {
            const T* const from = w.shards[p].d_output.data();
            T* const to = memory_.gradients(output_block);
            for (std::size_t v = 0; v < options_.vocabulary; ++v)
                for (std::size_t j = 0; j < options_.hidden; ++j)
                    to[v * options_.hidden + j] += from[v * call_.body.hidden() + j];
            for (std::size_t v = 0; v < options_.vocabulary; ++v)
                memory_.gradients(output_bias_block)[v] += w.shards[p].d_output_bias.data()[v];
        }
    }

    static constexpr std::size_t parents_at_once = 120;  ///< whose products stay in the cache until the cells read them

    /// A row that is being sampled.
    struct live_row {
        std::uint32_t row, state;
        std::int32_t token;
    };
    /// One thread's rows and their states.
    struct sampler {
        std::vector<live_row> live, next;
        std::vector<std::int32_t> embedded;
        std::vector<std::uint32_t> order;
        detail::lstm::scratch<T> h, c, h_next, c_next, z, logits, weights, table, embedding;
    };

    /// Continues the rows of `start` until they end; terminated ones have ended.
    batch sample(const batch& start, std::span<const std::uint64_t> id, const rollout_options& o, random_of random) {
        using namespace detail::lstm;
        o.check();
        const std::uint32_t most = o.max_length > 0 ? o.max_length : options_.max_length;
        const std::size_t count = id.size();
        if (call_.taken.size() < count) call_.taken.resize(count);
        for (std::size_t i = 0; i < count; ++i) call_.taken[i].clear();
        call_.ended.assign(count, 0);
        std::unique_ptr<work<T>> w = call_.pool.take();
        w->inverse_temperature.assign(count, static_cast<T>(1 / o.temperature));
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t length = start.length[i];
            if (length > most) [[unlikely]]
                fail(error_kind::shape, "lstm_policy::rollout_from", "from",
                     "prefixes of at most max_length = " + std::to_string(most) + " actions", std::to_string(length));
            call_.ended[i] =
                start.end[i] == row_end::terminated || (length > 0 && start.row(i).back() == options_.end_token);
            if (call_.ended[i] || length == most) continue;
            sequence& s = add_sequence(*w, start, i, options_.vocabulary, "lstm_policy::rollout");
            s.depth += length;
            s.out_first = s.depth - 1;
            s.out_count = 1;
        }
        w->plan(threads(), body_sizes(), most);
        pack(false);
        const bool whole_table = options_.vocabulary <= 4096;
        if (whole_table) {
            call_.every_token.resize(options_.vocabulary);
            std::iota(call_.every_token.begin(), call_.every_token.end(), 0);
            call_.body.table(call_.every_token, call_.embedding.need(options_.embedding * options_.vocabulary),
                             call_.table.need(4 * call_.body.hidden() * options_.vocabulary));
        }
        if (call_.samplers.size() < w->parts()) call_.samplers.resize(w->parts());
        for_each_part(w->parts(), [&](std::size_t i) {
            w->build(i);
            sample_part(w->shards[i], call_.samplers[i], start, id, o, random, most, whole_table);
        });
        call_.pool.give_back(std::move(w));

        batch out;
        std::vector<std::int32_t> token;
        std::vector<T> log_prob;
        std::vector<std::uint8_t> mask;
        for (std::size_t i = 0; i < count; ++i) {
            token.assign(start.row(i).begin(), start.row(i).end());
            const auto old = start.log_prob.empty() ? std::span<const T>{}
                                                    : std::span(start.log_prob).subspan(start.offset[i], token.size());
            log_prob.assign(old.begin(), old.end());
            mask.clear();
            if (!start.mask.empty()) {
                mask.assign(start.mask.begin() + static_cast<std::ptrdiff_t>(start.offset[i]),
                            start.mask.begin() + static_cast<std::ptrdiff_t>(start.offset[i] + token.size()));
                mask.resize(token.size() + call_.taken[i].size(), 1);
            }
            for (const auto& [action, value] : call_.taken[i]) token.push_back(action), log_prob.push_back(value);
            out.add(token, call_.ended[i] ? row_end::terminated : row_end::truncated, log_prob, o.temperature, mask);
        }
        out.prompt = start.prompt;
        return out;
    }

    void sample_part(detail::lstm::shard<T>& s, sampler& m, const batch& start, std::span<const std::uint64_t> id,
                     const rollout_options& o, random_of random, std::uint32_t most, bool whole_table) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden(), gates = 4 * hidden, vocabulary = padded<T>(options_.vocabulary);
        const T inverse = static_cast<T>(1 / o.temperature);
        std::size_t states = tree.out_node.size();
        m.h.need(hidden * states);
        m.c.need(hidden * states);
        m.live.clear();
        detail::lstm::forward(call_.body, s, false, [&](std::size_t level, const level_states<T>& now) {
            for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i) {
                std::copy_n(now.h(tree.out_node[i]), hidden, m.h.data() + i * hidden);
                std::copy_n(now.c(tree.out_node[i]), hidden, m.c.data() + i * hidden);
                for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k)
                    m.live.push_back({tree.wants[k].row, i, 0});
            }
        });
        T* const weights = m.weights.need(vocabulary);
        const std::size_t most_states = chunk();
        while (!m.live.empty()) {
            // Draw: rows are in the order of their states.
            m.next.clear();
            std::size_t next_row = 0;
            for (std::size_t first = 0; first < states; first += most_states) {
                const std::size_t n = std::min(most_states, states - first);
                T* const logits = m.logits.need(vocabulary * most_states);
                multiply(call_.output, m.h.data() + first * hidden, hidden, n, logits, vocabulary);
                for (std::size_t i = 0; i < n; ++i) {
                    T* const logit = logits + i * vocabulary;
                    const auto p =
                        softmax(options_.vocabulary, call_.output_bias.data(), inverse, logit, weights, false);
                    double log_sum = p.log_sum;
                    if (o.truncates()) log_sum = truncate(o, weights, m.order);
                    for (; next_row < m.live.size() && m.live[next_row].state == first + i; ++next_row) {
                        live_row row = m.live[next_row];
                        const std::uint32_t t =
                            start.length[row.row] + static_cast<std::uint32_t>(call_.taken[row.row].size());
                        const double u = random_stream(random.key, random.which, id[row.row]).uniform(t);
                        const std::size_t action =
                            sample_categorical(std::span<const T>(weights, options_.vocabulary), u);
                        row.token = static_cast<std::int32_t>(action);
                        call_.taken[row.row].emplace_back(row.token,
                                                          static_cast<T>(static_cast<double>(logit[action]) - log_sum));
                        if (row.token == options_.end_token)
                            call_.ended[row.row] = 1;
                        else if (t + 1 < most)
                            m.next.push_back(row);
                    }
                }
            }
            // Compact: the states that live on, then their distinct continuations.
            std::sort(m.next.begin(), m.next.end(), [](const live_row& a, const live_row& b) {
                return a.state != b.state ? a.state < b.state : a.token != b.token ? a.token < b.token : a.row < b.row;
            });
            std::size_t parents = 0, children = 0;
            m.embedded.clear();
            m.order.clear();  // parent of each child
            live_row before{};
            for (std::size_t i = 0; i < m.next.size(); ++i) {
                live_row& row = m.next[i];
                const bool new_state = i == 0 || row.state != before.state;
                if (new_state) {
                    if (parents != row.state) {
                        std::copy_n(m.h.data() + row.state * hidden, hidden, m.h.data() + parents * hidden);
                        std::copy_n(m.c.data() + row.state * hidden, hidden, m.c.data() + parents * hidden);
                    }
                    ++parents;
                }
                if (new_state || row.token != before.token) {
                    m.embedded.push_back(row.token);
                    m.order.push_back(static_cast<std::uint32_t>(parents - 1));
                    ++children;
                }
                before = row;
                row.state = static_cast<std::uint32_t>(children - 1);
            }
            if (!whole_table)
                call_.body.table(m.embedded, m.embedding.need(options_.embedding * children),
                                 m.table.need(gates * children));
            T* const h_next = m.h_next.need(hidden * children);
            T* const c_next = m.c_next.need(hidden * children);
            const std::size_t stride = gates + lanes<T>;
            T* const z = m.z.need(stride * std::min(parents, parents_at_once));
            std::size_t i = 0;
            for (std::size_t first = 0; first < parents; first += parents_at_once) {
                const std::size_t n = std::min(parents_at_once, parents - first);
                multiply(call_.body.recurrent, m.h.data() + first * hidden, hidden, n, z, stride);
                for (; i < children && m.order[i] < first + n; ++i)
                    cell<T>(hidden, z + (m.order[i] - first) * stride,
                            whole_table ? call_.table.data() + static_cast<std::size_t>(m.embedded[i]) * gates
                                        : m.table.data() + i * gates,
                            m.c.data() + m.order[i] * hidden, nullptr, c_next + i * hidden, h_next + i * hidden);
            }
            std::swap(m.h, m.h_next);
            std::swap(m.c, m.c_next);
            std::swap(m.live, m.next);
            states = children;
        }
    }

    /// Zeroes the weights outside top_k, then outside top_p of what is left. Ties go to the smaller token.
    /// Returns the log of the sum of the rest.
    double truncate(const rollout_options& o, T* weight, std::vector<std::uint32_t>& order) const {
        const std::size_t n = options_.vocabulary;
        order.resize(n);
        std::iota(order.begin(), order.end(), 0u);
        const std::size_t k = o.top_k > 0 ? std::min<std::size_t>(o.top_k, n) : n;
        std::partial_sort(
            order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return weight[a] != weight[b] ? weight[a] > weight[b] : a < b; });
        double total = 0;
        for (std::size_t i = 0; i < k; ++i) total += static_cast<double>(weight[order[i]]);
        std::size_t kept = k;
        if (o.top_p < 1) {
            double mass = 0;
            for (kept = 0; kept < k && mass < o.top_p * total; ++kept) mass += static_cast<double>(weight[order[kept]]);
            total = mass;
        }
        for (std::size_t i = kept; i < n; ++i) weight[order[i]] = 0;
        return std::log(total);
    }

    lstm_options options_;
    detail::lstm::parameter_memory<T> memory_;
    adamw::state<T> optimizer_state_;

    struct call_memory {
        detail::lstm::work_pool<detail::lstm::work<T>> pool;
        detail::lstm::packed_body<T> body;
        detail::lstm::packed_matrix<T> output, output_transposed;
        detail::lstm::scratch<T> output_bias, embedding, table;
        std::vector<std::size_t> from_token, from_hidden;
        std::vector<std::int32_t> every_token;
        std::vector<std::vector<std::pair<std::int32_t, T>>> taken;  ///< actions of a rollout, by row
        std::vector<std::uint8_t> ended;
        std::vector<sampler> samplers;
        detail::lstm::relaxation<T> relaxation;
        batch starts;
    };
    detail::lstm::transient<call_memory> call_;
};

}  // namespace rlgaf::inline RLGAF_ABI
