#pragma once
#include "rlgaf/models/dropout.hpp"
#include "rlgaf/models/lstm/body_gradients.hpp"
#include "rlgaf/models/lstm/moved_rows.hpp"
#include "rlgaf/models/lstm/scorer_options.hpp"
#include "rlgaf/models/lstm/work_pool.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// The part of lstm_scorer that scores whole rows of tokens.
template <class T>
class row_scorer : public adamw_model<T, lstm_scorer_options> {
public:
    /// What backward needs. To be handed to `backward` of the scorer that made it.
    class tape : public kept_work<scorer_work<T>, row_scorer> {};

    /// Errors: shape_error, numeric_error.
    void evaluate(const token_batch<T>& b, std::span<T> score) { pool_.give_back(run(b, score, false, false)); }
    tape forward(const token_batch<T>& b, std::span<T> score) {
        return kept(run(b, score, true, options_.dropout > 0));
    }
    /// Errors: shape_error.
    void backward(tape&& t, std::span<const T> d_score) {
        std::unique_ptr<work_type> w = taken(t, d_score, "lstm_scorer::backward");
        prepare_backward(*w, d_score);
        if (w->moved) {
            backward_moved(body_, *w, true);
            add_moved_gradients(*w, body_sizes(), mixed_, memory_);
        } else {
            for_each_part(w->parts(), [&](std::size_t i) { backward_pooled(body_, *w, w->shards[i]); });
            add_body_gradients(memory_, body_, *w, threads());
        }
        add_head_gradients(head(), *w, d_score, memory_);
        pool_.give_back(std::move(w));
    }
    std::size_t width() const { return options_.outputs; }
    template <class Archive>
    void visit(Archive& a) {
        model::visit(a);
        a("forwards", forwards_);
    }

protected:
    using model = adamw_model<T, lstm_scorer_options>;
    using model::memory_, model::options_;
    using work_type = scorer_work<T>;

    explicit row_scorer(const lstm_scorer_options& options) : model(options) {
        add_body(memory_, body_sizes(), options.seed);
        memory_.add("head", {options_.hidden, width()});
        memory_.add("head_bias", {width()});
    }

    sizes body_sizes() const { return sizes_of(options_); }
    linear_head<T> head() const { return linear_head<T>::of(memory_, options_.hidden, options_.outputs); }

    static tape kept(std::unique_ptr<work_type> w) {
        tape t;
        t.work_ = std::move(w);
        return t;
    }
    /// Errors: shape_error.
    std::unique_ptr<work_type> taken(tape& t, std::span<const T> d_score, const char* function) const {
        t.check_unused(function);
        check_size(d_score.size(), t.work_->rows.size() * width(), function, "d_score");
        return std::move(t.work_);
    }

    /// The rows of a batch and what is wanted of their states; weights of forward.
    std::unique_ptr<work_type> begin(const token_batch<T>& b, std::span<T> score, bool drop) {
        const char* const function = "lstm_scorer::evaluate";
        check_size(score.size(), rows(b) * width(), function, "score");
        std::unique_ptr<work_type> w = pool_.take();
        for (std::size_t i = 0; i < rows(b); ++i) {
            sequence& s = add_sequence(*w, b, i, options_.vocabulary, function);
            s.out_count = options_.pool == pooling::mean ? std::max(b.length[i], 1u) : 1;
            s.depth += b.length[i];
            s.out_first = s.depth - s.out_count;
        }
        w->length.assign(b.length.begin(), b.length.end());
        w->averages = options_.pool == pooling::mean;
        w->moved = w->mixed = false;
        draw_factors(*w, drop);
        body_.assign(memory_, body_sizes(), false);
        w->pooled.zeroed(body_.hidden() * rows(b));
        return w;
    }
    std::unique_ptr<work_type> run(const token_batch<T>& b, std::span<T> score, bool keep, bool drop) {
        std::unique_ptr<work_type> w = begin(b, score, drop);
        w->plan(threads(), body_sizes());
        for_each_part(w->parts(), [&](std::size_t part) {
            w->build(part);
            forward_pooled(body_, head(), *w, part, keep, score);
        });
        return w;
    }

    /// The gradient by every row's features; weights of backward.
    void prepare_backward(work_type& w, std::span<const T> d_score) {
        body_.assign(memory_, body_sizes(), true);
        differentiate_head(head(), w, d_score);
    }

    /// 0, or 1 / (1 - dropout), for every unit of every row.
    void draw_factors(work_type& w, bool drop) {
        w.drops = drop;
        if (!drop) return;
        ++forwards_;
        const std::size_t hidden = padded<T>(options_.hidden);
        T* const factor = w.factor.zeroed(hidden * w.length.size());
        for_each_row(w.length.size(), [&](std::size_t row) {
            draw_dropout(std::span(factor + row * hidden, options_.hidden), options_.dropout, options_.seed, forwards_,
                         row);
        });
    }

    std::uint32_t forwards_ = 0;  ///< with dropout
    transient<work_pool<work_type>> pool_;
    transient<packed_body<T>> body_;
    transient<mixed_embedding<T>> mixed_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
