#pragma once
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

    void check() const {
        const auto at_least_one = [](std::size_t n, const char* field) {
            detail::check_option(n >= 1, "lstm_scorer_options", field, "at least 1", static_cast<double>(n));
        };
        at_least_one(vocabulary, "vocabulary");
        at_least_one(embedding, "embedding");
        at_least_one(hidden, "hidden");
        detail::check_option(dropout >= 0 && dropout < 1, "lstm_scorer_options", "dropout", "in [0, 1)", dropout);
        optimizer.check();
    }
};

/// A discriminator or reward model with one LSTM layer: reads prompt and completion, gives one number.
///
/// Formula: states as in lstm_policy, after all actions are read; score = head . (mask * pooled) + head_bias.
///          A terminated row ends with the end-of-sequence token, a truncated one does not: they score differently.
/// Shapes:  parameters() are embedding [V + 1, E] (last row: start), input [E, 4H], recurrent [H, 4H], bias [4H],
///          head [H], head_bias [1].
/// Adds:    backward adds to the gradients in parameters().
/// Errors:  shape_error, numeric_error (a token out of range), option_error.
/// Needs, threads: as lstm_policy. The k-th forward of a scorer drops units of its own; dropping does not depend on
///          threads.
template <class T>
class lstm_scorer {
    struct row_work : detail::lstm::work<T> {
        detail::lstm::scratch<T> pooled, head;  ///< [H, B]: features and head, each times dropout's factors
    };

public:
    using scalar = T;

    /// What backward needs. To be handed to `backward` of the scorer that made it.
    class tape {
        friend class lstm_scorer;
        std::unique_ptr<row_work> work_;
    };

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
    void evaluate(const token_batch<T>& b, std::span<T> score) { call_.pool.give_back(run(b, score, false)); }
    tape forward(const token_batch<T>& b, std::span<T> score) {
        tape t;
        t.work_ = run(b, score, true);
        return t;
    }

    /// Errors: shape_error.
    void backward(tape&& t, std::span<const T> d_score) {
        using namespace detail::lstm;
        if (!t.work_) [[unlikely]]
            fail(error_kind::shape, "lstm_scorer::backward", "tape", "a tape of forward", "one that was used");
        detail::check_size(d_score.size(), t.work_->rows.size(), "lstm_scorer::backward", "d_score");
        std::unique_ptr<row_work> w = std::move(t.work_);
        packed_body<T>& body = call_.body;
        body.assign(memory_, body_sizes(), true);
        for_each_part(w->parts(), [&](std::size_t i) { part_backward(*w, w->shards[i], d_score); });
        add_body_gradients(memory_, body, *w, threads());
        T* const d_head = memory_.gradients(head_block);
        double d_bias = 0;
        for (std::size_t b = 0; b < d_score.size(); ++b) {
            const T* const pooled = w->pooled.data() + b * body.hidden();
            for (std::size_t j = 0; j < options_.hidden; ++j) d_head[j] += d_score[b] * pooled[j];
            d_bias += static_cast<double>(d_score[b]);
        }
        *memory_.gradients(head_bias_block) += static_cast<T>(d_bias);
        call_.pool.give_back(std::move(w));
    }

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

private:
    static constexpr std::size_t head_block = detail::lstm::first_head_block, head_bias_block = head_block + 1;

    detail::lstm::sizes body_sizes() const { return {options_.vocabulary, options_.embedding, options_.hidden}; }
    void add_head() {
        memory_.add("head", {options_.hidden});
        memory_.add("head_bias", {1});
    }

    std::unique_ptr<row_work> run(const token_batch<T>& b, std::span<T> score, bool keep) {
        using namespace detail::lstm;
        detail::check_size(score.size(), rows(b), "lstm_scorer::evaluate", "score");
        std::unique_ptr<row_work> w = call_.pool.take();
        for (std::size_t i = 0; i < rows(b); ++i) {
            sequence& s = add_sequence(*w, b, i, options_.vocabulary, "lstm_scorer::evaluate");
            s.out_count = options_.pool == pooling::mean ? std::max(b.length[i], 1u) : 1;
            s.depth += b.length[i];
            s.out_first = s.depth - s.out_count;
        }
        w->length.assign(b.length.begin(), b.length.end());
        w->plan(threads(), body_sizes());
        packed_body<T>& body = call_.body;
        body.assign(memory_, body_sizes(), false);
        const std::size_t hidden = body.hidden();
        T* const pooled = w->pooled.zeroed(hidden * rows(b));
        T* const head = w->head.zeroed(hidden * rows(b));
        const bool drop = keep && options_.dropout > 0;
        if (drop) ++forwards_;
        for_each_part(w->parts(), [&](std::size_t part) {
            w->build(part);
            const prefix_tree& tree = w->shards[part].tree;
            detail::lstm::forward(body, w->shards[part], keep, [&](std::size_t level, const level_states<T>& now) {
                for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i)
                    for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                        const std::uint32_t row = tree.wants[k].row;
                        add_scaled(hidden, share(*w, row), now.h(tree.out_node[i]), pooled + row * hidden);
                    }
            });
            for (std::size_t i = w->cut[part]; i < w->cut[part + 1]; ++i) {
                const std::uint32_t row = w->rows[i].row;
                score[row] = finish(pooled + row * hidden, head + row * hidden, drop, row);
            }
        });
        return w;
    }

    /// How much one wanted state counts in its row's features.
    T share(const detail::lstm::work<T>& w, std::uint32_t row) const {
        return options_.pool == pooling::mean ? 1 / static_cast<T>(std::max(w.length[row], 1u)) : T{1};
    }

    /// Drops units of one row's features and of its copy of the head; returns its score.
    T finish(T* pooled, T* head, bool drop, std::uint32_t row) const {
        const T* const weight = memory_.values(head_block);
        const random_stream random({options_.seed, forwards_}, stream::dropout, row);
        const T scale = static_cast<T>(1 / (1 - options_.dropout));
        double total = static_cast<double>(*memory_.values(head_bias_block));
        for (std::size_t j = 0; j < options_.hidden; ++j) {
            head[j] = weight[j];
            if (drop) {
                const T factor = random.uniform(static_cast<std::uint32_t>(j)) < options_.dropout ? T{0} : scale;
                head[j] *= factor;
                pooled[j] *= factor;
            }
            total += static_cast<double>(pooled[j]) * static_cast<double>(weight[j]);
        }
        return static_cast<T>(total);
    }

    void part_backward(const row_work& w, detail::lstm::shard<T>& s, std::span<const T> d_score) {
        using namespace detail::lstm;
        const prefix_tree& tree = s.tree;
        const std::size_t hidden = call_.body.hidden();
        detail::lstm::backward(call_.body, s, [&](std::size_t level, const level_states<T>&, T* d_h) {
            const std::size_t inner = tree.inner_at[level + 1] - tree.inner_at[level];
            for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i) {
                const std::uint32_t node = tree.out_node[i];
                const std::size_t at =
                    node < tree.inner() ? node - tree.inner_at[level] : inner + node - tree.leaf_at[level];
                for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k) {
                    const std::uint32_t row = tree.wants[k].row;
                    add_scaled(hidden, d_score[row] * share(w, row), w.head.data() + row * hidden, d_h + at * hidden);
                }
            }
        });
    }

    lstm_scorer_options options_;
    detail::lstm::parameter_memory<T> memory_;
    adamw::state<T> optimizer_state_;
    std::uint32_t forwards_ = 0;  ///< with dropout

    struct call_memory {
        detail::lstm::work_pool<row_work> pool;
        detail::lstm::packed_body<T> body;
    };
    detail::lstm::transient<call_memory> call_;
};

}  // namespace rlgaf::inline RLGAF_ABI
