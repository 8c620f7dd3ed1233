#pragma once
#include "rlgaf/models/lstm/row_scorer.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// The part of lstm_scorer that scores tokens.
template <class T>
class token_scorer : public row_scorer<T> {
public:
    class token_tape : public kept_work<scorer_work<T>, token_scorer> {};

    /// Scores of the row up to and with each token.
    void evaluate_tokens(const token_batch<T>& b, ragged_view<T> score) {
        pool_.give_back(run_tokens(b, score, false));
    }
    token_tape forward_tokens(const token_batch<T>& b, ragged_view<T> score) {
        token_tape t;
        t.work_ = run_tokens(b, score, true);
        return t;
    }
    /// Errors: shape_error.
    void backward_tokens(token_tape&& t, ragged_view<const T> d_score) {
        const char* const function = "lstm_scorer::backward_tokens";
        t.check_unused(function);
        check_same_shape(ragged_view<const double>::packed(t.work_->credit.data(), t.work_->offset), d_score, function,
                         "d_score");
        std::unique_ptr<scorer_work<T>> w = std::move(t.work_);
        body_.assign(memory_, this->body_sizes(), true);
        const double d_bias = spread_credit(*w, d_score);
        for_each_part(w->parts(), [&](std::size_t i) {
            backward_numbers(body_, this->head(), w->factors(), w->shards[i],
                             [&](const wanted& at) { return w->credit[w->offset[at.row] + at.t]; });
        });
        add_body_gradients(memory_, body_, *w, threads());
        T* const d_head = memory_.gradients(linear_head<T>::weight_block);
        for (std::size_t p = 0; p < w->parts(); ++p)
            for (std::size_t j = 0; j < options_.hidden; ++j) d_head[j] += w->shards[p].d_output.data()[j];
        *memory_.gradients(linear_head<T>::bias_block) += static_cast<T>(d_bias);
        pool_.give_back(std::move(w));
    }

protected:
    using row_scorer<T>::row_scorer, row_scorer<T>::memory_, row_scorer<T>::options_;
    using row_scorer<T>::body_, row_scorer<T>::pool_;

private:
    /// The cotangent of every state's own number with the head; returns the sum of d_score.
    double spread_credit(scorer_work<T>& w, const ragged_view<const T>& d_score) const {
        double d_bias = 0;
        for (std::size_t i = 0; i < w.length.size(); ++i) {
            double later = 0;
            for (std::size_t n = w.length[i]; n-- > 0;) {
                const double d = static_cast<double>(d_score.row(i)[n]);
                d_bias += d;
                later += d / static_cast<double>(n + 1);
                w.credit[w.offset[i] + n] = options_.pool == pooling::mean ? later : d;
            }
        }
        return d_bias;
    }

    std::unique_ptr<scorer_work<T>> run_tokens(const token_batch<T>& b, const ragged_view<T>& score, bool keep) {
        const char* const function = "lstm_scorer::evaluate_tokens";
        check_option(options_.outputs == 1, function, "outputs", "1: a token has one score",
                     static_cast<double>(options_.outputs));
        check_same_shape(tokens(b), score, function, "score");
        std::unique_ptr<scorer_work<T>> w = pool_.take();
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
        this->draw_factors(*w, keep && options_.dropout > 0);
        w->plan(threads(), this->body_sizes());
        body_.assign(memory_, this->body_sizes(), false);
        for_each_part(w->parts(), [&](std::size_t part) {
            w->build(part);
            forward_numbers(body_, this->head(), w->factors(), w->shards[part], keep,
                            [&](const wanted& at, T number) { score.row(at.row)[at.t] = number; });
            if (options_.pool == pooling::last) return;
            for (std::size_t i = w->cut[part]; i < w->cut[part + 1]; ++i) {
                double sum = 0;
                std::size_t t = 0;
                for (T& x : score.row(w->rows[i].row)) x = static_cast<T>((sum += x) / static_cast<double>(++t));
            }
        });
        return w;
    }
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
