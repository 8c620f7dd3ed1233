#pragma once
#include <array>

#include "rlgaf/core/reduce.hpp"
#include "rlgaf/models/ngram_table.hpp"
#include "rlgaf/models/optimizer_choice.hpp"

namespace rlgaf::inline RLGAF_ABI {

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
    template <class Archive>
    void visit(Archive& a) {
        visit_parameters(a, *this);
        optimizer_.visit(a);
    }
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
