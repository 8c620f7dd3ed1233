#pragma once
#include <array>

#include "rlgaf/core/reduce.hpp"
#include "rlgaf/math/categorical.hpp"
#include "rlgaf/models/ngram_table.hpp"
#include "rlgaf/models/optimizer_choice.hpp"
#include "rlgaf/models/sample_action.hpp"

/// Tabular n-gram models on xtensor: small enough that every expectation can be enumerated, and complete backends.
namespace rlgaf::inline RLGAF_ABI {

struct ngram_policy_options {
    ngram_shape shape{};
    std::int32_t end_token = 0;     ///< ends a row; in 0 .. vocabulary - 1
    std::uint32_t max_length = 16;  ///< tokens a row at most, the end token included; >= 1
    double initial_spread = 0;      ///< deviation of the first logits and values; >= 0; 0: uniform
    std::uint64_t seed = 1;         ///< of the first logits and values
    optimizer_choice optimizer = sgd{};

    void check() const {
        shape.check();
        detail::check_option(end_token >= 0 && static_cast<std::size_t>(end_token) < shape.vocabulary, "ngram_policy",
                             "end_token", "in 0 .. vocabulary - 1", end_token);
        detail::check_option(max_length >= 1, "ngram_policy", "max_length", "1 or more", max_length);
    }
};

/// A table of logits and values, one row for each history of n - 1 tokens.
/// Formula: pi(token | history) = softmax(logits[context(history)] / temperature).
/// Shapes:  logits [(V + 1)^(n - 1), V], values [(V + 1)^(n - 1), 1]. Masked tokens are history, not actions.
/// Needs:   Prompts = no_prompts, or token_prompts: one prompt for each id of a rollout; prompts are history.
template <class T, class Prompts = no_prompts>
class ngram_policy {
public:
    using scalar = T;
    using batch = token_batch<T>;
    using prompts = Prompts;
    struct tape {
        batch b;
    };
    static constexpr bool gives_entropy = true;
    static constexpr bool gives_value = true;
    static constexpr bool per_sample_streams = true;
    static_assert(std::is_same_v<Prompts, no_prompts> || std::is_same_v<Prompts, token_prompts>);

    explicit ngram_policy(const ngram_policy_options& options)
        : options_((options.check(), options)),
          contexts_(options.shape),
          logits_(contexts_.count(), options.shape.vocabulary, options.initial_spread, options.seed, 0),
          values_(contexts_.count(), 1, options.initial_spread, options.seed, 1),
          optimizer_(options.optimizer) {}

    const ngram_policy_options& options() const { return options_; }
    const ngram_contexts& contexts() const { return contexts_; }
    xt::xtensor<T, 2>& logits() { return logits_.values; }
    const xt::xtensor<T, 2>& logits() const { return logits_.values; }

    /// Errors: shape_error unless there is a prompt for each id (where the policy has prompts).
    batch rollout(const prompts& asked, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        o.check();
        batch out;
        if constexpr (std::is_same_v<Prompts, token_prompts>) {
            detail::check_size(rows(asked), id.size(), "ngram_policy::rollout", "prompts");
            out.prompt = asked;
        }
        const std::uint32_t limit = o.max_length == 0 ? options_.max_length : o.max_length;
        for (std::size_t i = 0; i < id.size(); ++i) {
            const random_stream random(key, stream::rollout, id[i]);
            token_.clear();
            log_prob_.clear();
            std::size_t context = contexts_.start();
            if (rows(out.prompt) > 0) context = contexts_.after(context, out.prompt.row(i), "ngram_policy::rollout");
            while (token_.size() < limit && (token_.empty() || token_.back() != options_.end_token))
                context = act(context, o, random.uniform(static_cast<std::uint32_t>(token_.size())), token_, log_prob_);
            out.add(token_, token_.back() == options_.end_token ? row_end::terminated : row_end::truncated, log_prob_,
                    o.temperature);
        }
        return out;
    }

    /// Draws one token after `context` and appends it with its log-prob; returns the next context.
    std::size_t act(std::size_t context, const rollout_options& o, double u, std::vector<std::int32_t>& token,
                    std::vector<T>& log_prob) {
        row_.resize(contexts_.vocabulary());
        log_softmax(logits_.row(context), o.temperature, std::span<T>(row_));
        const sampled_action drawn = sample_action(std::span<const T>(row_), o, u, order_, weight_);
        token.push_back(static_cast<std::int32_t>(drawn.action));
        log_prob.push_back(static_cast<T>(drawn.log_prob));
        return contexts_.after(context, token.back());
    }

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
        contexts_.for_each(
            b, "ngram_policy::backward", [&](std::size_t i, std::size_t t, std::size_t context, std::size_t token) {
                const double entropy = log_softmax(logits_.row(context), b.temperature[i], std::span<T>(row_));
                log_softmax_backward(std::span<const T>(row_), token, entropy, b.temperature[i], at(c.d_log_prob, i, t),
                                     at(c.d_entropy, i, t), logits_.gradient_row(context));
                values_.gradient_row(context)[0] += static_cast<T>(at(c.d_value, i, t));
            });
    }

    std::array<parameter_block<T>, 2> parameters() { return {logits_.block("logits"), values_.block("values")}; }
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() {
        logits_.discard();
        values_.discard();
    }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    ngram_policy clone() const {
        ngram_policy copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
    ngram_policy_options options_;
    ngram_contexts contexts_;
    detail::ngram_table<T> logits_, values_;
    chosen_optimizer<T> optimizer_;
    std::vector<T> row_, log_prob_;
    std::vector<std::int32_t> token_;
    std::vector<std::size_t> order_;
    std::vector<double> weight_;
};

struct ngram_scorer_options {
    ngram_shape shape{};
    bool mean = false;          ///< the mean over positions instead of the sum
    double initial_spread = 0;  ///< deviation of the first entries; >= 0
    std::uint64_t seed = 1;     ///< of the first entries
    optimizer_choice optimizer = sgd{};
};

/// A linear score: one table entry for each n-gram of the row.
/// Formula: score = sum (or mean) over unmasked positions t of table[context(tokens before t), token t].
/// Shapes:  table [(V + 1)^(n - 1), V]. A row without unmasked tokens scores 0.
template <class T>
class ngram_scorer {
public:
    using scalar = T;
    struct tape {
        token_batch<T> b;
    };

    explicit ngram_scorer(const ngram_scorer_options& options)
        : options_(options),
          contexts_(options.shape),
          table_(contexts_.count(), options.shape.vocabulary, options.initial_spread, options.seed, 2),
          optimizer_(options.optimizer) {}

    xt::xtensor<T, 2>& table() { return table_.values; }
    const ngram_contexts& contexts() const { return contexts_; }

    void evaluate(const token_batch<T>& b, std::span<T> score) {
        detail::check_size(score.size(), rows(b), "ngram_scorer::evaluate", "score");
        weigh(b);
        sum_.assign(rows(b), 0.0);
        contexts_.for_each(b, "ngram_scorer::evaluate",
                           [&](std::size_t i, std::size_t, std::size_t context, std::size_t token) {
                               sum_[i] += weight_[i] * static_cast<double>(table_.row(context)[token]);
                           });
        for (std::size_t i = 0; i < score.size(); ++i) score[i] = static_cast<T>(sum_[i]);
    }
    tape forward(const token_batch<T>& b, std::span<T> score) {
        evaluate(b, score);
        return {b};
    }
    void backward(tape&& taped, std::span<const T> d_score) {
        detail::check_size(d_score.size(), rows(taped.b), "ngram_scorer::backward", "d_score");
        weigh(taped.b);
        contexts_.for_each(
            taped.b, "ngram_scorer::backward", [&](std::size_t i, std::size_t, std::size_t context, std::size_t token) {
                table_.gradient_row(context)[token] += static_cast<T>(weight_[i] * static_cast<double>(d_score[i]));
            });
    }

    std::array<parameter_block<T>, 1> parameters() { return {table_.block("table")}; }
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() { table_.discard(); }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    ngram_scorer clone() const {
        ngram_scorer copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
    /// One weight a row: 1, or 1 / unmasked tokens.
    void weigh(const token_batch<T>& b) {
        weight_.assign(rows(b), options_.mean ? 0.0 : 1.0);
        if (!options_.mean) return;
        for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t) { weight_[i] += 1; });
        for (double& w : weight_) w = w > 0 ? 1 / w : 0;
    }

    ngram_scorer_options options_;
    ngram_contexts contexts_;
    detail::ngram_table<T> table_;
    chosen_optimizer<T> optimizer_;
    std::vector<double> weight_, sum_;
};

}  // namespace rlgaf::inline RLGAF_ABI
