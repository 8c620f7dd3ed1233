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
        detail::check_sizes("lstm_critic_options",
                            {{"vocabulary", vocabulary}, {"embedding", embedding}, {"hidden", hidden}});
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
class lstm_critic : public detail::adamw_model<T, lstm_critic_options> {
    using model = detail::adamw_model<T, lstm_critic_options>;
    using model::memory_, model::options_;
    using work = detail::lstm::work<T>;
    using head_type = detail::lstm::linear_head<T>;

public:
    using scalar = T;
    static constexpr bool gives_value = true;

    /// What backward needs. To be handed to `backward` of the critic that made it.
    class tape : public detail::lstm::kept_work<work, lstm_critic> {};

    explicit lstm_critic(const lstm_critic_options& options) : model(options) {
        add_blocks();
        memory_.randomize(head_type::weight_block, 1 / std::sqrt(static_cast<double>(options.hidden)), options.seed);
    }

    /// Begins with the embedding and recurrent weights of a policy, or of a reward model, and with a head of zeros: every
    /// value is 0. Vocabulary, embedding and hidden are the model's.
    template <class Model>
        requires std::same_as<Model, lstm_policy<T>> || std::same_as<Model, lstm_scorer<T>> lstm_critic(
            const Model& begin, const lstm_critic_options& options)
            : model(detail::lstm::sized_as(begin, options)) {
            add_blocks();
            this->copy_blocks(begin, detail::lstm::first_head_block);
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
            const char* const function = "lstm_critic::backward";
            t.check_unused(function);
            refuse(!c.d_log_prob.empty() || !c.d_entropy.empty(), function);
            check_cotangent(*t.work_, c.d_value, function, "d_value");
            std::unique_ptr<work> w = std::move(t.work_);
            if (!c.d_value.empty()) {
                call_.body.assign(memory_, body_sizes(), true);
                for_each_part(w->parts(), [&](std::size_t i) {
                    const double d_bias = backward_numbers<T>(
                        call_.body, head(), nullptr, w->shards[i],
                        [&](const wanted& at) { return static_cast<double>(c.d_value.row(at.row)[at.t]); });
                    *w->shards[i].d_output_bias.zeroed(1) = static_cast<T>(d_bias);
                });
                add_body_gradients(memory_, call_.body, *w, threads());
                for (std::size_t p = 0; p < w->parts(); ++p) {
                    const T* const d_head = w->shards[p].d_output.data();
                    for (std::size_t j = 0; j < options_.hidden; ++j)
                        memory_.gradients(head_type::weight_block)[j] += d_head[j];
                    *memory_.gradients(head_type::bias_block) += *w->shards[p].d_output_bias.data();
                }
            }
            call_.pool.give_back(std::move(w));
        }

        /// Every value v becomes scale * v + shift.
        void rescale(double scale, double shift) {
            for (T& w : memory_.blocks()[head_type::weight_block].values)
                w = static_cast<T>(static_cast<double>(w) * scale);
            T& bias = memory_.blocks()[head_type::bias_block].values[0];
            bias = static_cast<T>(static_cast<double>(bias) * scale + shift);
        }
        /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
        lstm_critic clone() const {
            lstm_critic copy = *this;
            copy.forget();
            return copy;
        }

    private:
        detail::lstm::sizes body_sizes() const { return detail::lstm::sizes_of(options_); }
        head_type head() const { return head_type::of(memory_, options_.hidden); }
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

        std::unique_ptr<work> run(const token_batch<T>& b, const policy_outputs<T>& out, bool keep) {
            using namespace detail::lstm;
            const char* const function = "lstm_critic::evaluate";
            refuse(!out.log_prob.empty() || !out.entropy.empty(), function);
            detail::check_same_shape_if_given(tokens(b), out.value, function, "value");
            std::unique_ptr<work> w = call_.pool.take();
            w->length.assign(b.length.begin(), b.length.end());
            for (std::size_t i = 0; i < rows(b); ++i)
                if (b.length[i] > 0) add_states_before_actions(*w, b, i, options_.vocabulary, function);
            w->plan(threads(), body_sizes());
            call_.body.assign(memory_, body_sizes(), false);
            for_each_part(w->parts(), [&](std::size_t i) {
                w->build(i);
                forward_numbers<T>(call_.body, head(), nullptr, w->shards[i], keep, [&](const wanted& at, T number) {
                    if (!out.value.empty()) out.value.row(at.row)[at.t] = number;
                });
            });
            return w;
        }

        struct call_memory {
            detail::lstm::work_pool<work> pool;
            detail::lstm::packed_body<T> body;
        };
        detail::lstm::transient<call_memory> call_;
};

}  // namespace rlgaf::inline RLGAF_ABI
