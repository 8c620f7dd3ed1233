#pragma once
#include "rlgaf/models/lstm_scorer.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct lstm_critic_options {
    std::size_t vocabulary = 0;  ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;  ///< >= 1
    std::size_t hidden = 256;    ///< >= 1; a multiple of 16 is fastest
    std::uint64_t seed = 0;      ///< of the first parameters
    adamw optimizer{};           ///< used by step

    void check() const {
        const auto at_least_one = [](std::size_t n, const char* field) {
            detail::check_option(n >= 1, "lstm_critic_options", field, "at least 1", static_cast<double>(n));
        };
        at_least_one(vocabulary, "vocabulary");
        at_least_one(embedding, "embedding");
        at_least_one(hidden, "hidden");
        optimizer.check();
    }
};

/// A critic with one LSTM layer: reads the prompt and the actions so far, gives the value before the next action.
///
/// Formula: states as in lstm_policy; value[t] = head . h + head_bias, h being the state that action t is drawn from.
///          Batch temperatures do not matter.
/// Shapes:  parameters() are embedding [V + 1, E] (last row: start), input [E, 4H], recurrent [H, 4H], bias [4H],
///          head [H], head_bias [1].
/// Adds:    backward adds to the gradients in parameters().
/// Units:   those of the rewards.
/// Errors:  shape_error, numeric_error (a token out of range), option_error where log-probs or entropies are asked for.
/// Needs, threads: as lstm_policy.
template <class T>
class lstm_critic {
public:
    using scalar = T;
    static constexpr bool gives_value = true;

    /// What backward needs. To be handed to `backward` of the critic that made it.
    class tape {
        friend class lstm_critic;
        std::unique_ptr<detail::lstm::work<T>> work_;
    };

    explicit lstm_critic(const lstm_critic_options& options) : options_(options) {
        options.check();
        add_blocks();
        memory_.randomize(head_block, 1 / std::sqrt(static_cast<double>(options.hidden)), options.seed);
    }

    /// Begins with the embedding and recurrent weights of a policy, or of a reward model, and with a head of zeros: every
    /// value is 0. Vocabulary, embedding and hidden are the model's.
    template <class Model>
        requires std::same_as<Model, lstm_policy<T>> || std::same_as<Model, lstm_scorer<T>> lstm_critic(
            const Model& model, lstm_critic_options options)
            : options_(options) {
            options_.vocabulary = model.options().vocabulary;
            options_.embedding = model.options().embedding;
            options_.hidden = model.options().hidden;
            options_.check();
            add_blocks();
            Model body = model.clone();
            for (std::size_t i = 0; i < head_block; ++i)
                std::ranges::copy(body.parameters()[i].values, memory_.blocks()[i].values.begin());
        }

        /// Errors: shape_error, numeric_error, option_error.
        void evaluate(const token_batch<T>& b, policy_outputs<T> out) { call_.pool.give_back(run(b, out, false)); }
        tape forward(const token_batch<T>& b, policy_outputs<T> out) {
            tape t;
            t.work_ = run(b, out, true);
            return t;
        }

        /// Errors: shape_error, option_error.
        void backward(tape&& t, policy_cotangents<T> c) {
            using namespace detail::lstm;
            if (!t.work_) [[unlikely]]
                fail(error_kind::shape, "lstm_critic::backward", "tape", "a tape of forward", "one that was used");
            refuse(!c.d_log_prob.empty() || !c.d_entropy.empty(), "lstm_critic::backward");
            check_cotangent(*t.work_, c.d_value);
            std::unique_ptr<work<T>> w = std::move(t.work_);
            if (!c.d_value.empty()) {
                call_.body.assign(memory_, body_sizes(), true);
                for_each_part(w->parts(), [&](std::size_t i) { part_backward(w->shards[i], c.d_value); });
                add_body_gradients(memory_, call_.body, *w, threads());
                for (std::size_t p = 0; p < w->parts(); ++p) {
                    const T* const d_head = w->shards[p].d_output.data();
                    for (std::size_t j = 0; j < options_.hidden; ++j) memory_.gradients(head_block)[j] += d_head[j];
                    *memory_.gradients(head_bias_block) += *w->shards[p].d_output_bias.data();
                }
            }
            call_.pool.give_back(std::move(w));
        }

        /// Every value v becomes scale * v + shift.
        void rescale(double scale, double shift) {
            for (T& w : memory_.blocks()[head_block].values) w = static_cast<T>(static_cast<double>(w) * scale);
            T& bias = memory_.blocks()[head_bias_block].values[0];
            bias = static_cast<T>(static_cast<double>(bias) * scale + shift);
        }
        step_report step(const step_options& o) { return options_.optimizer(optimizer_state_, memory_.blocks(), o); }
        void discard() { memory_.clear_gradients(); }
        /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
        lstm_critic clone() const {
            lstm_critic copy = *this;
            copy.discard();
            copy.optimizer_state_ = {};
            return copy;
        }

        std::span<const parameter_block<T>> parameters() { return memory_.blocks(); }
        adamw::state<T>& optimizer_state() { return optimizer_state_; }
        const lstm_critic_options& options() const { return options_; }

    private:
        static constexpr std::size_t head_block = detail::lstm::first_head_block, head_bias_block = head_block + 1;

        detail::lstm::sizes body_sizes() const { return {options_.vocabulary, options_.embedding, options_.hidden}; }
        void add_blocks() {
            detail::lstm::add_body(memory_, body_sizes(), options_.seed);
            memory_.add("head", {options_.hidden});
            memory_.add("head_bias", {1});
        }

        static void refuse(bool asked, const char* function) {
            if (asked) [[unlikely]]
                fail(error_kind::option, function, "log_prob and entropy", "nothing: a critic gives values only",
                     "a view");
        }
        static void check_cotangent(const detail::lstm::work<T>& w, const ragged_view<const T>& x) {
            if (x.empty()) return;
            detail::check_size(x.rows(), w.length.size(), "lstm_critic::backward", "d_value");
            for (std::size_t i = 0; i < w.length.size(); ++i)
                detail::check_size(x.length(i), w.length[i], "lstm_critic::backward", "a row of d_value");
        }

        std::unique_ptr<detail::lstm::work<T>> run(const token_batch<T>& b, const policy_outputs<T>& out, bool keep) {
            using namespace detail::lstm;
            refuse(!out.log_prob.empty() || !out.entropy.empty(), "lstm_critic::evaluate");
            detail::check_same_shape_if_given(tokens(b), out.value, "lstm_critic::evaluate", "value");
            std::unique_ptr<work<T>> w = call_.pool.take();
            w->length.assign(b.length.begin(), b.length.end());
            for (std::size_t i = 0; i < rows(b); ++i) {
                if (b.length[i] == 0) continue;
                sequence& s = add_sequence(*w, b, i, options_.vocabulary, "lstm_critic::evaluate");
                s.out_first = s.depth - 1;
                s.out_count = b.length[i];
                s.depth += b.length[i] - 1;  // the last action is not read
            }
            w->plan(threads(), body_sizes());
            call_.body.assign(memory_, body_sizes(), false);
            for_each_part(w->parts(), [&](std::size_t i) {
                w->build(i);
                part_forward(w->shards[i], out.value, keep);
            });
            return w;
        }

        void part_forward(detail::lstm::shard<T>& s, const ragged_view<T>& value, bool keep) {
            using namespace detail::lstm;
            const prefix_tree& tree = s.tree;
            const T* const head = memory_.values(head_block);
            detail::lstm::forward(call_.body, s, keep, [&](std::size_t level, const level_states<T>& now) {
                if (value.empty()) return;
                for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i) {
                    const T* const h = now.h(tree.out_node[i]);
                    double v = static_cast<double>(*memory_.values(head_bias_block));
                    for (std::size_t j = 0; j < options_.hidden; ++j)
                        v += static_cast<double>(h[j]) * static_cast<double>(head[j]);
                    for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k)
                        value.row(tree.wants[k].row)[tree.wants[k].t] = static_cast<T>(v);
                }
            });
        }

        void part_backward(detail::lstm::shard<T>& s, const ragged_view<const T>& d_value) {
            using namespace detail::lstm;
            const prefix_tree& tree = s.tree;
            const std::size_t hidden = call_.body.hidden();
            T* const d_head = s.d_output.zeroed(hidden);
            T* const head = s.weights.zeroed(hidden);
            std::copy_n(memory_.values(head_block), options_.hidden, head);
            double d_bias = 0;
            detail::lstm::backward(call_.body, s, [&](std::size_t level, const level_states<T>& now, T* d_h) {
                const std::size_t inner = tree.inner_at[level + 1] - tree.inner_at[level];
                for (std::uint32_t i = tree.out_at[level]; i < tree.out_at[level + 1]; ++i) {
                    const std::uint32_t node = tree.out_node[i];
                    const std::size_t at =
                        node < tree.inner() ? node - tree.inner_at[level] : inner + node - tree.leaf_at[level];
                    double d = 0;
                    for (std::uint32_t k = tree.wanted_at[i]; k < tree.wanted_at[i + 1]; ++k)
                        d += static_cast<double>(d_value.row(tree.wants[k].row)[tree.wants[k].t]);
                    add_scaled(hidden, static_cast<T>(d), head, d_h + at * hidden);
                    add_scaled(hidden, static_cast<T>(d), now.h(node), d_head);
                    d_bias += d;
                }
            });
            *s.d_output_bias.zeroed(1) = static_cast<T>(d_bias);
        }

        lstm_critic_options options_;
        detail::lstm::parameter_memory<T> memory_;
        adamw::state<T> optimizer_state_;

        struct call_memory {
            detail::lstm::work_pool<detail::lstm::work<T>> pool;
            detail::lstm::packed_body<T> body;
        };
        detail::lstm::transient<call_memory> call_;
};

}  // namespace rlgaf::inline RLGAF_ABI
