#pragma once
#include "rlgaf/models/lstm/action_model.hpp"
#include "rlgaf/models/lstm/rollout.hpp"
#include "rlgaf/models/lstm_relaxed.hpp"

namespace rlgaf::inline RLGAF_ABI {

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
class lstm_policy : public detail::lstm::action_model<T> {
    using model = detail::lstm::action_model<T>;
    using model::memory_, model::options_, model::body_, model::head_, model::pool_;

public:
    using scalar = T;
    using batch = token_batch<T>;
    using prompts = token_prompts;
    using relaxed = relaxed_rows<T>;
    using relaxed_tape = detail::lstm::relaxed_tape<T>;  ///< to be handed to backward_relaxed
    static constexpr bool gives_entropy = true;
    static constexpr bool per_sample_streams = true;

    explicit lstm_policy(const lstm_options& options) : model(options) {}

    /// One row for each id: row i answers prompt i, or there are no prompts.
    /// Errors: shape_error, option_error, numeric_error.
    batch rollout(const prompts& p, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        if (rows(p) > 0) detail::check_size(rows(p), id.size(), "lstm_policy::rollout", "prompts");
        call_.starts = batch{};
        for (std::size_t i = 0; i < id.size(); ++i) call_.starts.add({}, row_end::truncated);
        if (rows(p) > 0) call_.starts.prompt = p;
        return write_on(id, o, key, stream::rollout);
    }

    /// Row i of the result begins with prefix i and ends after max_length actions at most, the prefix included. A row
    /// that had ended stays as it is. What is kept keeps its log-probs; where b has none, it gets the policy's own, at
    /// the sampling temperature. Prefixes that begin alike share their states, and so do their continuations.
    /// Errors: shape_error, option_error, numeric_error.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        detail::check_size(from.size(), id.size(), "lstm_policy::rollout_from", "from");
        batch& starts = call_.starts = prefixes(b, from);
        if (starts.log_prob.size() < starts.token.size()) {
            starts.temperature.assign(from.size(), o.temperature);
            starts.log_prob.resize(starts.token.size());
            this->evaluate(starts,
                           {.log_prob = ragged_view<T>::packed(starts.log_prob.data(), std::span(starts.offset))});
        }
        return write_on(id, o, key, stream::rollout_from);
    }

    /// Draws rows of shares, one for each id, as relaxation_options says; `out` is overwritten. Unless the policy goes on
    /// from soft shares, the tokens drawn are a sample as a rollout's at temperature 1 are, of noise of its own
    /// (stream::gumbel). Log-probs are those that the tokens were drawn with.
    /// Errors: shape_error, option_error, numeric_error.
    relaxed_tape forward_relaxed(const prompts& p, std::span<const std::uint64_t> id, const relaxation_options& o,
                                 rng_key key, relaxed& out) {
        const char* const function = "lstm_policy::forward_relaxed";
        o.check();
        if (rows(p) > 0) detail::check_size(rows(p), id.size(), function, "prompts");
        detail::lstm::check_tokens(p.token, options_.vocabulary, function, "prompts");
        this->pack(false);
        return call_.relaxed_rollout.run(relaxed_weights(), p, id, o, key, out);
    }
    /// Adds the gradient that x.d_share says, the noise and the tokens drawn held fixed.
    /// Errors: shape_error.
    void backward_relaxed(relaxed_tape&& t, const relaxed& x) {
        const char* const function = "lstm_policy::backward_relaxed";
        if (!t.filled) [[unlikely]]
            fail(error_kind::shape, function, "tape", "a tape of forward_relaxed", "one that was used");
        if (!x.d_share.empty()) detail::check_size(x.d_share.size(), t.soft.size(), function, "d_share");
        const relaxed_tape used = std::exchange(t, {});
        if (x.d_share.empty()) return;
        this->pack(false);
        this->pack(true);
        call_.relaxed_gradient.run(relaxed_weights(), used, x.d_share, memory_);
    }

    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    lstm_policy clone() const {
        lstm_policy copy = *this;
        copy.forget();
        return copy;
    }

private:
    detail::lstm::relaxed_weights<T> relaxed_weights() const {
        return {body_, head_, memory_.values(detail::lstm::embedding_block), options_.end_token, options_.max_length};
    }
    /// Continues call_.starts.
    batch write_on(std::span<const std::uint64_t> id, const rollout_options& o, rng_key key, stream which) {
        o.check();
        this->pack(false);
        const std::uint32_t most = o.max_length > 0 ? o.max_length : options_.max_length;
        return call_.rollout.run(body_, head_, pool_, {call_.starts, id, o, key, which, most, options_.end_token});
    }

    struct call_memory {
        detail::lstm::token_rollout<T> rollout;
        detail::lstm::gumbel_rollout<T> relaxed_rollout;
        detail::lstm::relaxed_gradient<T> relaxed_gradient;
        batch starts;
    };
    detail::lstm::transient<call_memory> call_;
};

}  // namespace rlgaf::inline RLGAF_ABI
