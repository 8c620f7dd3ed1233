#pragma once
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/models/lstm/action_outputs.hpp"
#include "rlgaf/models/lstm/body_gradients.hpp"
#include "rlgaf/models/lstm/policy_options.hpp"
#include "rlgaf/models/lstm/work_pool.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// The part of lstm_policy that says how likely given actions are.
template <class T>
class action_model : public adamw_model<T, lstm_options> {
public:
    using batch = token_batch<T>;

    /// What backward needs. To be handed to `backward` of the policy that made it.
    class tape : public kept_work<work<T>, action_model> {};

    /// Errors: shape_error, numeric_error; option_error where values are asked for.
    void evaluate(const batch& b, policy_outputs<T> out) { pool_.give_back(run(b, out, false)); }

    tape forward(const batch& b, policy_outputs<T> out) {
        tape t;
        t.work_ = run(b, out, true);
        return t;
    }

    /// Ability exposes_logits: all logits of the batch are in memory until backward.
    tape forward(const batch& b, policy_outputs<T> out, logit_visitor<T> visitor) {
        tape t;
        t.work_ = run(b, out, true, true);
        work<T>& w = *t.work_;
        const std::size_t size = options_.vocabulary;
        std::size_t token = 0;
        for_each_token(tokens(b), mask_of(b), [&](std::size_t i, std::size_t k) {
            const std::size_t at = (w.first[i] + k) * size;
            visitor(token++, std::span<const T>(w.shown).subspan(at, size), std::span(w.d_shown).subspan(at, size));
        });
        return t;
    }

    /// Errors: shape_error.
    void backward(tape&& t, policy_cotangents<T> c) {
        const char* const function = "lstm_policy::backward";
        t.check_unused(function);
        check_cotangent(*t.work_, c.d_log_prob, function, "d_log_prob");
        check_cotangent(*t.work_, c.d_entropy, function, "d_entropy");
        refuse_value(c.d_value.empty(), function, "d_value");
        std::unique_ptr<work<T>> w = std::move(t.work_);
        if (!c.d_log_prob.empty() || !c.d_entropy.empty() || !w->d_shown.empty()) {
            pack(true);
            for_each_part(w->parts(), [&](std::size_t i) { backward_actions(body_, head_, *w, w->shards[i], c); });
            add_body_gradients(memory_, body_, *w, threads());
            head_.add_gradients(memory_, *w);
        }
        pool_.give_back(std::move(w));
    }

protected:
    using model = adamw_model<T, lstm_options>;
    using model::memory_, model::options_;

    explicit action_model(const lstm_options& options) : model(options) {
        add_body(memory_, body_sizes(), options.seed);
        softmax_head<T>::add_blocks(memory_, body_sizes(), options.seed);
    }

    sizes body_sizes() const { return sizes_of(options_); }
    void pack(bool backward) {
        body_.assign(memory_, body_sizes(), backward);
        head_.assign(memory_, body_sizes(), backward);
    }

    /// Memory of calls.
    transient<work_pool<work<T>>> pool_;
    transient<packed_body<T>> body_;
    transient<softmax_head<T>> head_;

private:
    static void refuse_value(bool empty, const char* function, const char* argument) {
        if (!empty) [[unlikely]]
            fail(error_kind::option, function, argument, "nothing: this policy gives no values", "an array");
    }

    std::unique_ptr<work<T>> run(const batch& b, policy_outputs<T> out, bool keep, bool show = false) {
        const char* const function = "lstm_policy::evaluate";
        detail::check_same_shape_if_given(tokens(b), out.log_prob, function, "log_prob");
        detail::check_same_shape_if_given(tokens(b), out.entropy, function, "entropy");
        refuse_value(out.value.empty(), function, "value");
        std::unique_ptr<work<T>> w = pool_.take();
        w->inverse_temperature.resize(rows(b));
        w->length.assign(b.length.begin(), b.length.end());
        for (std::size_t i = 0; i < rows(b); ++i) {
            detail::check_option(b.temperature[i] > 0, function, "batch.temperature", "positive", b.temperature[i]);
            w->inverse_temperature[i] = static_cast<T>(1 / b.temperature[i]);
            if (b.length[i] > 0)
                add_states_before_actions(*w, b, i, options_.vocabulary, function).key = b.temperature[i];
        }
        const std::size_t numbers = show ? b.token.size() * options_.vocabulary : 0;
        w->shown.resize(numbers);
        w->d_shown.assign(numbers, T{0});
        if (show) w->first.assign(b.offset.begin(), b.offset.end() - 1);
        w->plan(threads(), body_sizes());
        pack(false);
        for_each_part(w->parts(), [&](std::size_t i) {
            w->build(i);
            forward_actions(body_, head_, *w, w->shards[i], out, keep);
        });
        return w;
    }
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
