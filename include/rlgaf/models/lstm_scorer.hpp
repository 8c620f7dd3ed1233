#pragma once
#include "rlgaf/models/lstm_dense.hpp"
#include "rlgaf/models/lstm_perturbation.hpp"
#include "rlgaf/models/lstm_policy.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What of a row's states the score is read from.
enum class pooling : std::uint8_t {
    last,  ///< the state after the last action
    mean   ///< the mean of the states after each action
};

struct lstm_scorer_options {
    std::size_t vocabulary = 0;    ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;    ///< >= 1
    std::size_t hidden = 256;      ///< >= 1; a multiple of 16 is fastest
    pooling pool = pooling::last;  ///< of a row without actions: the state before the first one
    double dropout = 0;            ///< of pooled units, in forward only; in [0, 1)
    std::uint64_t seed = 0;        ///< of the first parameters and of dropout
    adamw optimizer{};             ///< used by step
    std::size_t outputs = 1;       ///< numbers a row, the scorer's width(); >= 1

    void check() const {
        const auto at_least_one = [](std::size_t n, const char* field) {
            detail::check_option(n >= 1, "lstm_scorer_options", field, "at least 1", static_cast<double>(n));
        };
        at_least_one(vocabulary, "vocabulary");
        at_least_one(embedding, "embedding");
        at_least_one(hidden, "hidden");
        at_least_one(outputs, "outputs");
        detail::check_option(dropout >= 0 && dropout < 1, "lstm_scorer_options", "dropout", "in [0, 1)", dropout);
        optimizer.check();
    }
};

/// A discriminator or reward model with one LSTM layer: reads prompt and completion, gives one number, or `outputs`.
///
/// Formula: states as in lstm_policy, after all actions are read; score = head . (mask * pooled) + head_bias.
///          A terminated row ends with the end-of-sequence token, a truncated one does not: they score differently.
///          Token scores are those of the row up to and with the token: pooling::mean is the mean of the states so far.
///          Moved inputs: an embedding plus its displacement is read in place of the embedding; never the start token's.
///          Relaxed rows: share^T embedding is read in place of a completion's embeddings.
/// Shapes:  scores [B, outputs]; token scores as the completions. parameters() are embedding [V + 1, E] (last row:
///          start), input [E, 4H], recurrent [H, 4H], bias [4H], head [H] (or [H, outputs]), head_bias [outputs].
/// Adds:    backward adds to the gradients in parameters(); input_gradient and input_cotangent add nothing there.
/// Errors:  shape_error, numeric_error (a token out of range), option_error (token scores with several outputs).
/// Needs, threads: as lstm_policy. The k-th forward of a scorer drops units of its own, the same ones at every token of
///          a row; dropping does not depend on threads. Rows with moved inputs share no states: they cost what rows
///          without common beginnings cost.
template <class T>
class lstm_scorer {
    struct row_work : detail::lstm::work<T> {
        detail::lstm::scratch<T> pooled, d_pooled;  ///< [H, B]
        detail::lstm::scratch<T> factor;            ///< [H, B], of dropout
        bool drops = false, moved = false, mixed = false;
        detail::lstm::scratch<T> mixed_input, d_share;   ///< of the tokens of relaxed rows
        std::vector<T> share;                            ///< [tokens, vocabulary], likewise
        std::vector<std::uint32_t> depth;                ///< [B], of moved rows
        std::vector<detail::lstm::dense_lstm<T>> dense;  ///< of parts of moved rows
        std::vector<std::size_t> offset;                 ///< [B + 1], of tokens
        std::vector<double> credit;                      ///< of every token's own product with the head
    };
    class work_holder {
        friend class lstm_scorer;
        std::unique_ptr<row_work> work_;
    };

public:
    using scalar = T;
    using perturbation = detail::lstm::perturbation<T>;  ///< opaque
    using relaxed = relaxed_rows<T>;

    /// What backward needs. To be handed to `backward` of the scorer that made it.
    class tape : public work_holder {};
    class token_tape : public work_holder {};

    explicit lstm_scorer(const lstm_scorer_options& options) : options_(options) {
        options.check();
        detail::lstm::add_body(memory_, body_sizes(), options.seed);
        add_head();
        memory_.randomize(head_block, 1 / std::sqrt(static_cast<double>(options.hidden)), options.seed);
    }

    /// Begins with the policy's embedding and recurrent weights, and with a head of zeros: every score is 0.
    /// Vocabulary, embedding and hidden are the policy's.
    lstm_scorer(const lstm_policy<T>& policy, lstm_scorer_options options) : options_(options) {
        options_.vocabulary = policy.options().vocabulary;
        options_.embedding = policy.options().embedding;
        options_.hidden = policy.options().hidden;
        options_.check();
        detail::lstm::add_body(memory_, body_sizes(), options_.seed);
        for (std::size_t i = 0; i < detail::lstm::first_head_block; ++i)
            std::ranges::copy(policy.memory_.blocks()[i].values, memory_.blocks()[i].values.begin());
        add_head();
    }

    /// Errors: shape_error, numeric_error.
    void evaluate(const token_batch<T>& b, std::span<T> score) { call_.pool.give_back(run(b, score, false, false)); }
    tape forward(const token_batch<T>& b, std::span<T> score) {
        tape t;
        t.work_ = run(b, score, true, options_.dropout > 0);
        return t;
    }
    /// Without dropout, where the inputs are moved by p.
    tape forward(const token_batch<T>& b, const perturbation& p, std::span<T> score) {
        tape t;
        t.work_ = p.empty() ? run(b, score, true, false) : run_moved(b, p, score);
        return t;
    }

    /// Rows of shares. With dropout, as other rows.
    tape forward(const relaxed& x, std::span<T> score) {
        tape t;
        t.work_ = run_mixed(x, score);
        return t;
    }
    /// Adds to x.d_share the gradient of the sum of d_score times score; an empty d_share starts at 0. t is of
    /// forward(x, score).
    /// Errors: shape_error.
    void input_cotangent(tape&& t, std::span<const T> d_score, relaxed& x) {
        using namespace detail::lstm;
        const char* const function = "lstm_scorer::input_cotangent";
        check_unused(t, function);
        detail::check_size(d_score.size(), t.work_->rows.size() * options_.outputs, function, "d_score");
        detail::check_size(x.share.size(), t.work_->mixed ? t.work_->share.size() : 0, function, "x.share");
        std::unique_ptr<row_work> w = std::move(t.work_);
        prepare_backward(*w, d_score);
        moved_backward(*w, false);
        const std::size_t n = x.hard.token.size(), vocabulary = padded<T>(options_.vocabulary);
        gather_mixed(*w);
        call_.mixed.assign(memory_.values(embedding_block), body_sizes());
        T* const d_share = w->d_share.need(vocabulary * n);
        call_.mixed.spread(w->mixed_input.data(), n, d_share);
        x.d_share.resize(x.share.size(), T{0});
        for (std::size_t k = 0; k < n; ++k)
            for (std::size_t v = 0; v < options_.vocabulary; ++v)
                x.d_share[k * options_.vocabulary + v] += d_share[k * vocabulary + v];
        call_.pool.give_back(std::move(w));
    }

    /// Errors: shape_error.
    void backward(tape&& t, std::span<const T> d_score) {
        using namespace detail::lstm;
        check_unused(t, "lstm_scorer::backward");
        detail::check_size(d_score.size(), t.work_->rows.size() * options_.outputs, "lstm_scorer::backward", "d_score");
        std::unique_ptr<row_work> w = std::move(t.work_);
        prepare_backward(*w, d_score);
        if (w->moved) {
            moved_backward(*w, true);
            add_moved_gradients(*w);
        } else {
            for_each_part(w->parts(), [&](std::size_t i) { part_backward(*w, w->shards[i]); });
            add_body_gradients(memory_, call_.body, *w, threads());
        }
        const std::size_t outputs = options_.outputs, hidden = call_.body.hidden();
        T* const d_head = memory_.gradients(head_block);
        for (std::size_t k = 0; k < outputs; ++k) {
            double d_bias = 0;
            for (std::size_t b = 0; b < w->rows.size(); ++b) {
                const T d = d_score[b * outputs + k];
                const T* const pooled = w->pooled.data() + b * hidden;
                for (std::size_t j = 0; j < options_.hidden; ++j) d_head[j * outputs + k] += d * pooled[j];
                d_bias += static_cast<double>(d);
            }
            memory_.gradients(head_bias_block)[k] += static_cast<T>(d_bias);
        }
        call_.pool.give_back(std::move(w));
    }

    /// Scores of the row up to and with each token.
    void evaluate_tokens(const token_batch<T>& b, ragged_view<T> score) {
        call_.pool.give_back(run_tokens(b, score, false));
    }
    token_tape forward_tokens(const token_batch<T>& b, ragged_view<T> score) {
        token_tape t;
        t.work_ = run_tokens(b, score, true);
        return t;
    }
    /// Errors: shape_error.
    void backward_tokens(token_tape&& t, ragged_view<const T> d_score) {
        using namespace detail::lstm;
        check_unused(t, "lstm_scorer::backward_tokens");
        detail::check_same_shape(ragged_view<const double>::packed(t.work_->credit.data(), t.work_->offset), d_score,
                                 "lstm_scorer::backward_tokens", "d_score");
        std::unique_ptr<row_work> w = std::move(t.work_);
        call_.body.assign(memory_, body_sizes(), true);
        double d_bias = 0;
        for (std::size_t i = 0; i < w->length.size(); ++i) {
            double later = 0;
            for (std::size_t n = w->length[i]; n-- > 0;) {
                const double d = static_cast<double>(d_score.row(i)[n]);
                d_bias += d;
                later += d / static_cast<double>(n + 1);
                w->credit[w->offset[i] + n] = options_.pool == pooling::mean ? later : d;
            }
        }
        for_each_part(w->parts(), [&](std::size_t i) { part_backward_tokens(*w, w->shards[i]); });
        add_body_gradients(memory_, call_.body, *w, threads());
        T* const d_head = memory_.gradients(head_block);
        for (std::size_t p = 0; p < w->parts(); ++p)
            for (std::size_t j = 0; j < options_.hidden; ++j) d_head[j] += w->shards[p].d_output.data()[j];
        *memory_.gradients(head_bias_block) += static_cast<T>(d_bias);
        call_.pool.give_back(std::move(w));
    }

    /// Normal numbers of deviation sigma: those of row i are sample i of stream::noise.
    perturbation noise(const token_batch<T>& b, double sigma, rng_key key) const {
        detail::check_option(sigma >= 0, "lstm_scorer::noise", "sigma", "0 or positive", sigma);
        perturbation p(b, options_.embedding);
        for_each_row(rows(b), [&](std::size_t i) {
            const random_stream random(key, stream::noise, i);
            const std::span<T> x = p.row(i);
            for (std::size_t j = 0; j < x.size(); ++j)
                x[j] = static_cast<T>(sigma * random.normal(static_cast<std::uint32_t>(j & 0xFFFFFFu),
                                                            static_cast<std::uint32_t>(j >> 24)));
        });
        return p;
    }

    /// Displaces the completion of row i of a by d[i] of the way to row i of b, at the positions that both have. Prompts
    /// are the same and stay.
    /// Errors: shape_error, numeric_error (a token out of range).
    perturbation towards(const token_batch<T>& a, const token_batch<T>& b, std::span<const T> d) const {
        detail::check_size(rows(b), rows(a), "lstm_scorer::towards", "rows of b");
        detail::check_size(d.size(), rows(a), "lstm_scorer::towards", "d");
        perturbation p(a, options_.embedding);
        for (std::size_t i = 0; i < rows(a); ++i) {
            const std::span<const std::int32_t> from = a.row(i), to = b.row(i);
            const std::span<T> x = p.row(i).last(from.size() * options_.embedding);
            for (std::size_t t = 0; t < std::min(from.size(), to.size()); ++t) {
                const T *const start = embedding_of(from[t]), *const goal = embedding_of(to[t]);
                for (std::size_t j = 0; j < options_.embedding; ++j)
                    x[t * options_.embedding + j] = d[i] * (goal[j] - start[j]);
            }
        }
        return p;
    }

    /// Of the sum of d times score, by the inputs where they are moved by p.
    perturbation input_gradient(const token_batch<T>& b, const perturbation& p, std::span<const T> d) {
        detail::check_size(d.size(), rows(b) * options_.outputs, "lstm_scorer::input_gradient", "d");
        call_.score.resize(d.size());
        std::unique_ptr<row_work> w =
            run_moved(b, p.empty() ? perturbation(b, options_.embedding) : p, std::span<T>(call_.score));
        prepare_backward(*w, d);
        moved_backward(*w, false);
        perturbation g(b, options_.embedding);
        for_each_moved(*w, [&](std::size_t i, std::size_t t, const T* d_input) {
            if (t > 0) std::copy_n(d_input, options_.embedding, g.row(i).data() + (t - 1) * options_.embedding);
        });
        call_.pool.give_back(std::move(w));
        return g;
    }

    void row_norms(const perturbation& p, std::span<T> norm) const { p.row_norms(norm); }
    void scale(perturbation& p, std::span<const T> by) const { p.scale(by); }
    void add(perturbation& to, const perturbation& p) const { to.add(p); }

    step_report step(const step_options& o) { return options_.optimizer(optimizer_state_, memory_.blocks(), o); }
    void discard() { memory_.clear_gradients(); }
    /// The same parameters, no gradients, an optimiser without memory and dropout from its first forward on, as if they
    /// were loaded from a file.
    lstm_scorer clone() const {
        lstm_scorer copy = *this;
        copy.discard();
        copy.optimizer_state_ = {};
        copy.forwards_ = 0;
        return copy;
    }

    std::span<const parameter_block<T>> parameters() { return memory_.blocks(); }
    adamw::state<T>& optimizer_state() { return optimizer_state_; }
    const lstm_scorer_options& options() const { return options_; }
    std::size_t width() const { return options_.outputs; }

private:
    static constexpr std::size_t head_block = detail::lstm::first_head_block, head_bias_block = head_block + 1;

    detail::lstm::sizes body_sizes() const { return {options_.vocabulary, options_.embedding, options_.hidden}; }
    void add_head() {
        const std::size_t outputs = options_.outputs;
        memory_.add("head", outputs == 1 ? std::vector{options_.hidden} : std::vector{options_.hidden, outputs});
        memory_.add("head_bias", {outputs});
    }

    static void check_unused(const work_holder& t, const char* function) {
        if (!t.work_) [[unlikely]]
            fail(error_kind::shape, function, "tape", "a tape of forward", "one that was used");
    }
    template <class F>
    static void for_each_row(std::size_t n, F&& f) {
        const std::size_t parts = std::clamp<std::size_t>(n / 32, 1, detail::lstm::threads());
        detail::lstm::for_each_part(parts, [&](std::size_t part) {
            for (std::size_t i = n * part / parts; i < n * (part + 1) / parts; ++i) f(i);
        });
    }
    const T* embedding_of(std::int32_t token) const {
        if (token < 0 || static_cast<std::size_t>(token) >= options_.vocabulary) [[unlikely]]
            fail(error_kind::numeric, "lstm_scorer::towards", "batch.token",
                 short_text("tokens in 0 .. ", options_.vocabulary - 1), short_text(token));
        return memory_.values(detail::lstm::embedding_block) + static_cast<std::size_t>(token) * options_.embedding;
    }

    /// The rows of a batch and what is wanted of their states; weights of forward.
    std::unique_ptr<row_work> begin(const token_batch<T>& b, std::span<T> score, bool drop) {
        using namespace detail::lstm;
        detail::check_size(score.size(), rows(b) * options_.outputs, "lstm_scorer::evaluate", "score");
        std::unique_ptr<row_work> w = call_.pool.take();
        for (std::size_t i = 0; i < rows(b); ++i) {
            sequence& s = add_sequence(*w, b, i, options_.vocabulary, "lstm_scorer::evaluate");
            s.out_count = options_.pool == pooling::mean ? std::max(b.length[i], 1u) : 1;
            s.depth += b.length[i];
            s.out_first = s.depth - s.out_count;
        }
        w->length.assign(b.length.begin(), b.length.end());
        w->moved = w->mixed = false;
        draw_factors(*w, drop);
        call_.body.assign(memory_, body_sizes(), false);
        w->pooled.zeroed(call_.body.hidden() * rows(b));
        return w;
    }

    std::unique_ptr<row_work> run(const token_batch<T>& b, std::span<T> score, bool keep, bool drop) {
        using namespace detail::lstm;
        std::unique_ptr<row_work> w = begin(b, score, drop);
        w->plan(threads(), body_sizes());
        const std::size_t hidden = call_.body.hidden();
        for_each_part(w->parts(), [&](std::size_t part) {
            w->build(part);
            const prefix_tree& tree = w->shards[part].tree;
            const auto collect = [&](std::size_t level, const level_states<T>& now) {
                for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i)
                    for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                        const std::uint32_t row = tree.wants[k].row;
                        add_scaled(hidden, share(*w, row), now.h(tree.out_node[i]), w->pooled.data() + row * hidden);
                    }
            };
            detail::lstm::forward(call_.body, w->shards[part], keep, collect);
            for (std::size_t i = w->cut[part]; i < w->cut[part + 1]; ++i) finish(*w, w->rows[i].row, score);
        });
        return w;
    }

    std::unique_ptr<row_work> run_moved(const token_batch<T>& b, const perturbation& p, std::span<T> score) {
        p.check(b, options_.embedding, "lstm_scorer::forward");
        std::unique_ptr<row_work> w = begin(b, score, false);
        run_dense(*w, score, [&](std::size_t i, std::size_t t, T* to) {
            if (t == 0) return;
            const T* const by = p.row(i).data() + (t - 1) * options_.embedding;
            for (std::size_t j = 0; j < options_.embedding; ++j) to[j] += by[j];
        });
        return w;
    }

    std::unique_ptr<row_work> run_mixed(const relaxed& x, std::span<T> score) {
        const std::size_t n = x.hard.token.size();
        detail::check_size(x.vocabulary, options_.vocabulary, "lstm_scorer::forward", "x.vocabulary");
        detail::check_size(x.share.size(), n * x.vocabulary, "lstm_scorer::forward", "x.share");
        std::unique_ptr<row_work> w = begin(x.hard, score, options_.dropout > 0);
        w->mixed = true;
        w->share = x.share;
        w->offset = x.hard.offset;
        call_.mixed.assign(memory_.values(detail::lstm::embedding_block), body_sizes());
        const std::size_t stride = call_.mixed.stride();
        T* const mixed = w->mixed_input.need(stride * n);
        call_.mixed.mix(x.share.data(), n, mixed);
        run_dense(*w, score, [&](std::size_t i, std::size_t t, T* to) {
            if (const std::size_t said = w->depth[i] - w->length[i]; t >= said)
                std::copy_n(mixed + (w->offset[i] + t - said) * stride, options_.embedding, to);
        });
        return w;
    }

    /// Rows that share no states; move(row, step, embedding) changes what is read.
    template <class Move>
    void run_dense(row_work& w, std::span<T> score, Move&& move) {
        using namespace detail::lstm;
        w.moved = true;
        cut_in_order(w);
        const std::size_t hidden = call_.body.hidden(), embedding = options_.embedding;
        const T* const table = memory_.values(embedding_block);
        for_each_part(w.parts(), [&](std::size_t part) {
            dense_lstm<T>& lstm = w.dense[part];
            const std::size_t first = w.cut[part], last = w.cut[part + 1];
            lstm.assign(std::span(w.depth).subspan(first, last - first), body_sizes());
            for (std::size_t i = first; i < last; ++i)
                for (std::size_t t = 0; t < w.depth[i]; ++t) {
                    T* const to = lstm.input(i - first, t);
                    std::copy_n(table + static_cast<std::size_t>(w.input[w.rows[i].first + t]) * embedding, embedding,
                                to);
                    move(i, t, to);
                }
            lstm.forward(call_.body);
            for (std::size_t i = first; i < last; ++i) {
                const sequence& s = w.rows[i];
                for (std::uint32_t k = 0; k < s.out_count; ++k)
                    add_scaled(hidden, share(w, s.row), lstm.state(i - first, s.out_first + k),
                               w.pooled.data() + i * hidden);
                finish(w, s.row, score);
            }
        });
    }

    /// Parts of about the same number of states.
    void cut_in_order(row_work& w) const {
        std::size_t total = 0, done = 0;
        w.depth.clear();
        for (const auto& s : w.rows) {
            w.depth.push_back(s.depth);
            total += s.depth;
        }
        const std::size_t worth = total * options_.hidden * 4 * options_.hidden / 500000;
        const std::size_t parts = std::clamp<std::size_t>(worth, 1, detail::lstm::threads());
        w.cut.assign(1, 0);
        for (std::size_t i = 0; i < w.depth.size(); ++i) {
            done += w.depth[i];
            if (done * parts >= total * w.cut.size() && w.cut.size() < parts) w.cut.push_back(i + 1);
        }
        while (w.cut.size() <= parts) w.cut.push_back(w.depth.size());
        if (w.dense.size() < parts) w.dense.resize(parts);
    }

    std::unique_ptr<row_work> run_tokens(const token_batch<T>& b, const ragged_view<T>& score, bool keep) {
        using namespace detail::lstm;
        const char* const function = "lstm_scorer::evaluate_tokens";
        detail::check_option(options_.outputs == 1, function, "outputs", "1: a token has one score",
                             static_cast<double>(options_.outputs));
        detail::check_same_shape(tokens(b), score, function, "score");
        std::unique_ptr<row_work> w = call_.pool.take();
        w->offset.assign(1, 0);
        for (std::size_t i = 0; i < rows(b); ++i) {
            w->offset.push_back(w->offset.back() + b.length[i]);
            if (b.length[i] == 0) continue;
            sequence& s = add_sequence(*w, b, i, options_.vocabulary, function);
            s.out_first = s.depth;
            s.out_count = b.length[i];
            s.depth += b.length[i];
        }
        w->credit.resize(w->offset.back());
        w->length.assign(b.length.begin(), b.length.end());
        draw_factors(*w, keep && options_.dropout > 0);
        w->plan(threads(), body_sizes());
        call_.body.assign(memory_, body_sizes(), false);
        for_each_part(w->parts(), [&](std::size_t part) {
            w->build(part);
            part_forward_tokens(*w, w->shards[part], score, keep);
            if (options_.pool == pooling::last) return;
            for (std::size_t i = w->cut[part]; i < w->cut[part + 1]; ++i) {
                double sum = 0;
                std::size_t t = 0;
                for (T& x : score.row(w->rows[i].row)) x = static_cast<T>((sum += x) / static_cast<double>(++t));
            }
        });
        return w;
    }

    void part_forward_tokens(row_work& w, detail::lstm::shard<T>& s, const ragged_view<T>& score, bool keep) const {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden();
        T* const kept = s.gathered.need(hidden);
        detail::lstm::forward(call_.body, s, keep, [&](std::size_t level, const level_states<T>& now) {
            for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i) {
                const T* const h = now.h(tree.out_node[i]);
                T shared = w.drops ? T{0} : output(h, 0);
                for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                    const wanted& at = tree.wants[k];
                    if (w.drops) {
                        const T* const factor = w.factor.data() + at.row * hidden;
                        for (std::size_t j = 0; j < options_.hidden; ++j) kept[j] = h[j] * factor[j];
                        shared = output(kept, 0);
                    }
                    score.row(at.row)[at.t] = shared;
                }
            }
        });
    }

    /// How much one wanted state counts in its row's features.
    T share(const detail::lstm::work<T>& w, std::uint32_t row) const {
        return options_.pool == pooling::mean ? 1 / static_cast<T>(std::max(w.length[row], 1u)) : T{1};
    }

    /// 0, or 1 / (1 - dropout), for every unit of every row.
    void draw_factors(row_work& w, bool drop) {
        w.drops = drop;
        if (!drop) return;
        ++forwards_;
        const std::size_t hidden = detail::lstm::padded<T>(options_.hidden);
        T* const factor = w.factor.zeroed(hidden * w.length.size());
        const T scale = static_cast<T>(1 / (1 - options_.dropout));
        for_each_row(w.length.size(), [&](std::size_t row) {
            const random_stream random({options_.seed, forwards_}, stream::dropout, row);
            for (std::size_t j = 0; j < options_.hidden; ++j)
                factor[row * hidden + j] =
                    random.uniform(static_cast<std::uint32_t>(j)) < options_.dropout ? T{0} : scale;
        });
    }

    T output(const T* features, std::size_t k) const {
        const T* const weight = memory_.values(head_block);
        double total = static_cast<double>(memory_.values(head_bias_block)[k]);
        for (std::size_t j = 0; j < options_.hidden; ++j)
            total += static_cast<double>(features[j]) * static_cast<double>(weight[j * options_.outputs + k]);
        return static_cast<T>(total);
    }
    /// Drops units of one row's features and writes its scores.
    void finish(row_work& w, std::size_t row, std::span<T> score) const {
        const std::size_t hidden = call_.body.hidden();
        T* const pooled = w.pooled.data() + row * hidden;
        if (w.drops)
            for (std::size_t j = 0; j < options_.hidden; ++j) pooled[j] *= w.factor.data()[row * hidden + j];
        for (std::size_t k = 0; k < options_.outputs; ++k) score[row * options_.outputs + k] = output(pooled, k);
    }

    /// The gradient by every row's features; weights of backward.
    void prepare_backward(row_work& w, std::span<const T> d_score) {
        call_.body.assign(memory_, body_sizes(), true);
        const std::size_t hidden = call_.body.hidden(), outputs = options_.outputs;
        const T* const weight = memory_.values(head_block);
        T* const d_pooled = w.d_pooled.zeroed(hidden * w.rows.size());
        for (std::size_t b = 0; b < w.rows.size(); ++b)
            for (std::size_t j = 0; j < options_.hidden; ++j) {
                T d{0};
                for (std::size_t k = 0; k < outputs; ++k) d += d_score[b * outputs + k] * weight[j * outputs + k];
                d_pooled[b * hidden + j] = w.drops ? d * w.factor.data()[b * hidden + j] : d;
            }
    }

    void part_backward(const row_work& w, detail::lstm::shard<T>& s) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden();
        detail::lstm::backward(call_.body, s, [&](std::size_t level, const level_states<T>&, T* d_h) {
            for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i)
                for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                    const std::uint32_t row = tree.wants[k].row;
                    add_scaled(hidden, share(w, row), w.d_pooled.data() + row * hidden,
                               d_h + place(tree, level, tree.out_node[i]) * hidden);
                }
        });
    }

    void part_backward_tokens(const row_work& w, detail::lstm::shard<T>& s) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden();
        T* const d_head = s.d_output.zeroed(hidden);
        T* const head = s.weights.zeroed(hidden);
        std::copy_n(memory_.values(head_block), options_.hidden, head);
        detail::lstm::backward(call_.body, s, [&](std::size_t level, const level_states<T>& now, T* d_h) {
            for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i) {
                const T* const h = now.h(tree.out_node[i]);
                T* const to = d_h + place(tree, level, tree.out_node[i]) * hidden;
                double shared = 0;
                for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                    const wanted& at = tree.wants[k];
                    const double d = w.credit[w.offset[at.row] + at.t];
                    shared += d;
                    if (!w.drops) continue;
                    const T* const factor = w.factor.data() + at.row * hidden;
                    for (std::size_t j = 0; j < options_.hidden; ++j) {
                        const T kept = static_cast<T>(d) * factor[j];
                        to[j] += kept * head[j];
                        d_head[j] += kept * h[j];
                    }
                }
                if (w.drops) continue;
                add_scaled(hidden, static_cast<T>(shared), head, to);
                add_scaled(hidden, static_cast<T>(shared), h, d_head);
            }
        });
    }
    /// Of a node in its level's gradients.
    static std::size_t place(const detail::lstm::prefix_tree& tree, std::size_t level, std::uint32_t node) {
        return node < tree.inner() ? node - tree.inner_at[level]
                                   : tree.inner_at[level + 1] - tree.inner_at[level] + node - tree.leaf_at[level];
    }

    void moved_backward(row_work& w, bool parameters) {
        using namespace detail::lstm;
        const std::size_t hidden = call_.body.hidden();
        for_each_part(w.parts(), [&](std::size_t part) {
            dense_lstm<T>& lstm = w.dense[part];
            lstm.begin_backward(parameters);
            for (std::size_t i = w.cut[part]; i < w.cut[part + 1]; ++i)
                for (std::uint32_t k = 0; k < w.rows[i].out_count; ++k)
                    add_scaled(hidden, share(w, w.rows[i].row), w.d_pooled.data() + i * hidden,
                               lstm.d_state(i - w.cut[part], w.rows[i].out_first + k));
            lstm.backward(call_.body);
        });
    }
    /// f(row, step, gradient by the input).
    template <class F>
    static void for_each_moved(const row_work& w, F&& f) {
        for (std::size_t part = 0; part < w.parts(); ++part)
            for (std::size_t i = w.cut[part]; i < w.cut[part + 1]; ++i)
                for (std::size_t t = 0; t < w.depth[i]; ++t) f(i, t, w.dense[part].d_input(i - w.cut[part], t));
    }
    void add_moved_gradients(row_work& w) {
        for (std::size_t part = 0; part < w.parts(); ++part) w.dense[part].add_gradients(memory_);
        T* const table = memory_.gradients(detail::lstm::embedding_block);
        for_each_moved(w, [&](std::size_t i, std::size_t t, const T* d_input) {
            if (w.mixed && t >= w.depth[i] - w.length[i]) return;
            T* const to = table + static_cast<std::size_t>(w.input[w.rows[i].first + t]) * options_.embedding;
            for (std::size_t j = 0; j < options_.embedding; ++j) to[j] += d_input[j];
        });
        if (!w.mixed) return;
        gather_mixed(w);
        call_.mixed.assign(memory_.values(detail::lstm::embedding_block), body_sizes());
        call_.mixed.add_gradient(w.share.data(), w.mixed_input.data(), w.offset.back(), table);
    }
    /// Gradients by what relaxed rows made of the embeddings, in place of these.
    void gather_mixed(row_work& w) const {
        const std::size_t stride = detail::lstm::padded<T>(options_.embedding);
        for_each_moved(w, [&](std::size_t i, std::size_t t, const T* d_input) {
            if (const std::size_t said = w.depth[i] - w.length[i]; t >= said)
                std::copy_n(d_input, stride, w.mixed_input.data() + (w.offset[i] + t - said) * stride);
        });
    }

    lstm_scorer_options options_;
    detail::lstm::parameter_memory<T> memory_;
    adamw::state<T> optimizer_state_;
    std::uint32_t forwards_ = 0;  ///< with dropout

    struct call_memory {
        detail::lstm::work_pool<row_work> pool;
        detail::lstm::packed_body<T> body;
        std::vector<T> score;  ///< that nobody asked for
        detail::lstm::mixed_embedding<T> mixed;
    };
    detail::lstm::transient<call_memory> call_;
};

}  // namespace rlgaf::inline RLGAF_ABI
