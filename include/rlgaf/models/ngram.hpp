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
        std::vector<T> d_logits{};  ///< [unmasked tokens, V], or empty
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
            const row_end end = write_on(context, limit, o, random);
            out.add(token_, end, log_prob_, o.temperature);
        }
        return out;
    }

    /// Row i of the result begins with prefix i and ends after max_length tokens at most, the prefix included. A row
    /// that had ended stays as it is. What is kept keeps its log-probs (see beginnings).
    /// Errors: shape_error, option_error, numeric_error.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        o.check();
        detail::check_size(from.size(), id.size(), "ngram_policy::rollout_from", "from");
        const std::uint32_t limit = o.max_length == 0 ? options_.max_length : o.max_length;
        const batch start = beginnings(b, from, limit, o, "ngram_policy::rollout_from");
        batch out;
        std::vector<std::uint8_t> included;
        for (std::size_t i = 0; i < id.size(); ++i) {
            std::size_t context = contexts_.start();
            if (rows(start.prompt) > 0)
                context = contexts_.after(context, start.prompt.row(i), "ngram_policy::rollout_from");
            context = contexts_.after(context, start.row(i), "ngram_policy::rollout_from");
            begin_with(start, i, token_, log_prob_, included);
            const row_end end = start.end[i] == row_end::terminated
                                    ? start.end[i]
                                    : write_on(context, limit, o, random_stream(key, stream::rollout_from, id[i]));
            if (!start.mask.empty()) included.resize(token_.size(), 1);
            out.add(token_, end, log_prob_, o.temperature, included);
        }
        out.prompt = start.prompt;
        return out;
    }

    /// The prefixes of b that are to be continued, with log-probs: b's, or where it has none the policy's own at the
    /// sampling temperature (masked tokens: NaN).
    batch beginnings(const batch& b, std::span<const prefix> from, std::uint32_t limit, const rollout_options& o,
                     const char* function) {
        batch start = prefixes(b, from);
        for (const std::uint32_t length : start.length)
            if (length > limit) [[unlikely]]
                fail(error_kind::shape, function, "from",
                     short_text("prefixes of at most ", limit, " tokens (max_length)"), short_text(length));
        if (start.log_prob.size() < start.token.size()) {
            start.temperature.assign(from.size(), o.temperature);
            start.log_prob.assign(start.token.size(), std::numeric_limits<T>::quiet_NaN());
            evaluate(start, {.log_prob = ragged_view<T>::packed(start.log_prob.data(), std::span(start.offset))});
        }
        return start;
    }
    /// Row i of `start` as vectors that can grow.
    static void begin_with(const batch& start, std::size_t i, std::vector<std::int32_t>& token,
                           std::vector<T>& log_prob, std::vector<std::uint8_t>& included) {
        const auto copy = [&](auto& to, const auto& whole) {
            const auto row =
                std::span(whole).subspan(whole.empty() ? 0 : start.offset[i], whole.empty() ? 0 : start.length[i]);
            to.assign(row.begin(), row.end());
        };
        copy(token, start.token);
        copy(log_prob, start.log_prob);
        copy(included, start.mask);
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
    /// Adds tokens to token_ and log_prob_ until the row ends.
    row_end write_on(std::size_t context, std::uint32_t limit, const rollout_options& o, const random_stream& random) {
        const auto ended = [&] { return !token_.empty() && token_.back() == options_.end_token; };
        while (token_.size() < limit && !ended())
            context = act(context, o, random.uniform(static_cast<std::uint32_t>(token_.size())), token_, log_prob_);
        return ended() ? row_end::terminated : row_end::truncated;
    }

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
///          A token's score is that of the row up to and with the token.
/// Shapes:  table [(V + 1)^(n - 1), V]. A row without unmasked tokens scores 0, and so does its beginning.
template <class T>
class ngram_scorer {
public:
    using scalar = T;
    struct tape {
        token_batch<T> b;
    };
    struct token_tape {
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

    void evaluate_tokens(const token_batch<T>& b, ragged_view<T> score) {
        detail::check_same_shape(tokens(b), score, "ngram_scorer::evaluate_tokens", "score");
        weigh_tokens(b);
        sum_.assign(b.token.size(), 0.0);
        contexts_.for_each(b, "ngram_scorer::evaluate_tokens",
                           [&](std::size_t i, std::size_t t, std::size_t context, std::size_t token) {
                               sum_[b.offset[i] + t] = static_cast<double>(table_.row(context)[token]);
                           });
        for (std::size_t i = 0; i < rows(b); ++i) {
            double sum = 0;
            for (std::size_t t = 0; t < b.length[i]; ++t) {
                sum += sum_[b.offset[i] + t];
                score.row(i)[t] = static_cast<T>(weight_[b.offset[i] + t] * sum);
            }
        }
    }
    token_tape forward_tokens(const token_batch<T>& b, ragged_view<T> score) {
        evaluate_tokens(b, score);
        return {b};
    }
    void backward_tokens(token_tape&& taped, ragged_view<const T> d_score) {
        const token_batch<T>& b = taped.b;
        detail::check_same_shape(tokens(b), d_score, "ngram_scorer::backward_tokens", "d_score");
        weigh_tokens(b);
        for (std::size_t i = 0; i < rows(b); ++i) {  // from here on: weight times d_score, from this token to the last
            double later = 0;
            for (std::size_t t = b.length[i]; t-- > 0;)
                later = weight_[b.offset[i] + t] =
                    later + weight_[b.offset[i] + t] * static_cast<double>(d_score.row(i)[t]);
        }
        contexts_.for_each(b, "ngram_scorer::backward_tokens",
                           [&](std::size_t i, std::size_t t, std::size_t context, std::size_t token) {
                               table_.gradient_row(context)[token] += static_cast<T>(weight_[b.offset[i] + t]);
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
    /// One weight a token, of the row up to and with it.
    void weigh_tokens(const token_batch<T>& b) {
        weight_.assign(b.token.size(), 1.0);
        if (!options_.mean) return;
        const mask_view included = mask(b);
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t t = 0, n = 0; t < b.length[i]; ++t) {
                n += included.empty() || included.row(i)[t] ? 1 : 0;
                weight_[b.offset[i] + t] = n > 0 ? 1 / static_cast<double>(n) : 0;
            }
    }

    ngram_scorer_options options_;
    ngram_contexts contexts_;
    detail::ngram_table<T> table_;
    chosen_optimizer<T> optimizer_;
    std::vector<double> weight_, sum_;
};

}  // namespace rlgaf::inline RLGAF_ABI
