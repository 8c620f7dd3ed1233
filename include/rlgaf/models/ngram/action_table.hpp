#pragma once
#include <array>

#include "rlgaf/core/reduce.hpp"
#include "rlgaf/math/categorical.hpp"
#include "rlgaf/models/ngram/policy_options.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// The part of ngram_policy that says how likely given actions are.
template <class T>
class action_table {
public:
    using batch = token_batch<T>;
    struct tape {
        batch b;
        std::vector<T> d_logits{};  ///< [unmasked tokens, V], or empty
    };

    const ngram_policy_options& options() const { return options_; }
    const ngram_contexts& contexts() const { return contexts_; }
    xt::xtensor<T, 2>& logits() { return logits_.values; }
    const xt::xtensor<T, 2>& logits() const { return logits_.values; }

    void evaluate(const batch& b, policy_outputs<T> out) {
        const auto shape = tokens(b);
        detail::check_same_shape_if_given(shape, out.log_prob, "ngram_policy::evaluate", "log_prob");
        detail::check_same_shape_if_given(shape, out.entropy, "ngram_policy::evaluate", "entropy");
        detail::check_same_shape_if_given(shape, out.value, "ngram_policy::evaluate", "value");
        row_.resize(contexts_.vocabulary());
        contexts_.for_each(
            b, "ngram_policy::evaluate", [&](std::size_t i, std::size_t t, std::size_t context, std::size_t token) {
                const double entropy = log_softmax(logits_.row(context), b.temperature[i], std::span<T>(row_));
                if (!out.log_prob.empty()) out.log_prob.row(i)[t] = row_[token];
                if (!out.entropy.empty()) out.entropy.row(i)[t] = static_cast<T>(entropy);
                if (!out.value.empty()) out.value.row(i)[t] = values_.row(context)[0];
            });
    }
    tape forward(const batch& b, policy_outputs<T> out) {
        evaluate(b, out);
        return {b};
    }
    /// Ability exposes_logits.
    tape forward(const batch& b, policy_outputs<T> out, logit_visitor<T> visitor) {
        evaluate(b, out);
        tape taped{b};
        const std::size_t size = contexts_.vocabulary();
        std::vector<T> shown(size);
        contexts_.for_each(
            b, "ngram_policy::forward", [&](std::size_t i, std::size_t, std::size_t context, std::size_t) {
                for (std::size_t v = 0; v < size; ++v)
                    shown[v] = static_cast<T>(static_cast<double>(logits_.row(context)[v]) / b.temperature[i]);
                const std::size_t first = taped.d_logits.size();
                taped.d_logits.resize(first + size);
                visitor(first / size, shown, std::span(taped.d_logits).subspan(first));
            });
        return taped;
    }
    void backward(tape&& taped, policy_cotangents<T> c) {
        const batch& b = taped.b;
        const auto shape = tokens(b);
        detail::check_same_shape_if_given(shape, c.d_log_prob, "ngram_policy::backward", "d_log_prob");
        detail::check_same_shape_if_given(shape, c.d_entropy, "ngram_policy::backward", "d_entropy");
        detail::check_same_shape_if_given(shape, c.d_value, "ngram_policy::backward", "d_value");
        row_.resize(contexts_.vocabulary());
        const auto at = [](const ragged_view<const T>& x, std::size_t i, std::size_t t) {
            return x.empty() ? 0.0 : static_cast<double>(x.row(i)[t]);
        };
        const T* d_logits = taped.d_logits.empty() ? nullptr : taped.d_logits.data();
        contexts_.for_each(
            b, "ngram_policy::backward", [&](std::size_t i, std::size_t t, std::size_t context, std::size_t token) {
                if (d_logits)
                    for (T& g : logits_.gradient_row(context))
                        g += static_cast<T>(static_cast<double>(*d_logits++) / b.temperature[i]);
                const double entropy = log_softmax(logits_.row(context), b.temperature[i], std::span<T>(row_));
                log_softmax_backward(std::span<const T>(row_), token, entropy, b.temperature[i], at(c.d_log_prob, i, t),
                                     at(c.d_entropy, i, t), logits_.gradient_row(context));
                values_.gradient_row(context)[0] += static_cast<T>(at(c.d_value, i, t));
            });
    }

    std::array<parameter_block<T>, 2> parameters() { return {logits_.block("logits"), values_.block("values")}; }
    template <class Archive>
    void visit(Archive& a) {
        visit_parameters(a, *this);
        optimizer_.visit(a);
    }
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() {
        logits_.discard();
        values_.discard();
    }

protected:
    explicit action_table(const ngram_policy_options& options)
        : options_((options.check(), options)),
          contexts_(options.shape),
          logits_(contexts_.count(), options.shape.vocabulary, options.initial_spread, options.seed, 0),
          values_(contexts_.count(), 1, options.initial_spread, options.seed, 1),
          optimizer_(options.optimizer) {}

    ngram_policy_options options_;
    ngram_contexts contexts_;
    ngram_table<T> logits_, values_;
    chosen_optimizer<T> optimizer_;
    std::vector<T> row_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
