#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "rlgaf/backend/optimizer.hpp"
#include "rlgaf/backend/relaxed_rows.hpp"
#include "rlgaf/models/lstm_layer.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct cnn_scorer_options {
    std::size_t vocabulary = 0;                      ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;                      ///< >= 1
    std::size_t filters = 100;                       ///< of each width, >= 1; RelGAN: 300
    std::vector<std::size_t> widths = {2, 3, 4, 5};  ///< tokens that a filter sees at once; one or more, each >= 1
    std::uint64_t seed = 0;                          ///< of the first parameters
    adamw optimizer{};                               ///< used by step

    void check() const {
        const auto at_least_one = [](std::size_t n, const char* field) {
            detail::check_option(n >= 1, "cnn_scorer_options", field, "at least 1", static_cast<double>(n));
        };
        at_least_one(vocabulary, "vocabulary");
        at_least_one(embedding, "embedding");
        at_least_one(filters, "filters");
        at_least_one(widths.size(), "widths");
        for (const std::size_t w : widths) at_least_one(w, "widths");
        optimizer.check();
    }
};

/// A discriminator that looks for telling phrases: filters over a few tokens, each row's best match of each filter, and a
/// sum of these. It cannot count what comes twice.
///
/// Formula: x = embeddings of prompt and completion (or share^T embedding), then zeros up to the widest filter at least;
///          feature[f] = max(0, max over t of filter_f . (x_t, ..., x_{t + width - 1}) + bias_f);
///          score = head . feature + head_bias.
/// Shapes:  scores [B]. parameters() are embedding [V, E], then for each width filter [F, width E] and bias [F], then
///          head [widths F] and head_bias [1].
/// Adds:    backward adds to the gradients in parameters(); input_cotangent to x.d_share only.
/// At kinks: of equal windows the first one; a feature of 0 has no gradient.
/// Errors:  shape_error, numeric_error (a token out of range), option_error.
/// Needs:   one thread at a time. Parameters stay as they are while a tape lives.
/// Source:  Kim 2014, arXiv 1408.5882; as discriminator: Yu et al. 2017, arXiv 1609.05473 (SeqGAN, with a highway layer);
///          Nie, Narodytska and Patel 2019, ICLR (RelGAN).
template <class T>
class cnn_scorer {
public:
    using scalar = T;
    using relaxed = relaxed_rows<T>;

    /// What backward needs. To be handed to `backward` of the scorer that made it.
    class tape {
        friend class cnn_scorer;
        token_batch<T> rows_;
        std::vector<T> share_;             ///< empty: tokens
        std::vector<std::size_t> column_;  ///< [B + 1] of x
        std::vector<T> x_;                 ///< [embedding, columns]
        std::vector<T> feature_;           ///< [features, B]
        std::vector<std::uint32_t> best_;  ///< [features, B], columns
        bool filled_ = false;
    };

    explicit cnn_scorer(const cnn_scorer_options& options) : options_(options) {
        options.check();
        memory_.add("embedding", {options.vocabulary, options.embedding});
        memory_.randomize(0, std::sqrt(3.0), options.seed);  // variance 1
        for (std::size_t k = 0; k < options.widths.size(); ++k) {
            const std::size_t inputs = options.widths[k] * options.embedding;
            memory_.add("filter_" + std::to_string(options.widths[k]) + "_" + std::to_string(k),
                        {options.filters, inputs});
            memory_.randomize(filter_block(k), std::sqrt(3 / static_cast<double>(inputs)), options.seed);
            memory_.add("bias_" + std::to_string(options.widths[k]) + "_" + std::to_string(k), {options.filters});
            std::fill_n(memory_.blocks().back().values.data(), options.filters, T(0.1));  // as SeqGAN: few dead filters
        }
        memory_.add("head", {features()});
        memory_.randomize(head_block(), std::sqrt(3 / static_cast<double>(features())), options.seed);
        memory_.add("head_bias", {1});
    }

    /// Errors: shape_error, numeric_error.
    void evaluate(const token_batch<T>& b, std::span<T> score) { (void)run(b, nullptr, score); }
    tape forward(const token_batch<T>& b, std::span<T> score) { return run(b, nullptr, score); }
    tape forward(const relaxed& x, std::span<T> score) {
        detail::check_size(x.vocabulary, options_.vocabulary, "cnn_scorer::forward", "x.vocabulary");
        detail::check_size(x.share.size(), x.hard.token.size() * x.vocabulary, "cnn_scorer::forward", "x.share");
        return run(x.hard, &x.share, score);
    }

    /// Errors: shape_error.
    void backward(tape&& t, std::span<const T> d_score) {
        const tape used = take(t, d_score, "cnn_scorer::backward");
        std::vector<T> d_x(used.x_.size(), T{0});
        spread(used, d_score, d_x, true);
        T* const d_head = memory_.gradients(head_block());
        for (std::size_t i = 0; i < d_score.size(); ++i) {
            for (std::size_t f = 0; f < features(); ++f) d_head[f] += d_score[i] * used.feature_[i * features() + f];
            *memory_.gradients(head_block() + 1) += d_score[i];
        }
        for_each_input(used, [&](std::size_t column, std::size_t token, const T* share) {
            const auto add = [&](std::size_t v, T by) {
                T* const to = memory_.gradients(0) + v * options_.embedding;
                for (std::size_t e = 0; e < options_.embedding; ++e) to[e] += by * d_x[column * options_.embedding + e];
            };
            if (!share) return add(token, T{1});
            for (std::size_t v = 0; v < options_.vocabulary; ++v) add(v, share[v]);
        });
    }

    /// Adds to x.d_share the gradient of the sum of d_score times score; an empty d_share starts at 0. t is of
    /// forward(x, score).
    /// Errors: shape_error.
    void input_cotangent(tape&& t, std::span<const T> d_score, relaxed& x) {
        const tape used = take(t, d_score, "cnn_scorer::input_cotangent");
        detail::check_size(x.share.size(), used.share_.size(), "cnn_scorer::input_cotangent", "x.share");
        std::vector<T> d_x(used.x_.size(), T{0});
        spread(used, d_score, d_x, false);
        x.d_share.resize(x.share.size(), T{0});
        for_each_input(used, [&](std::size_t column, std::size_t, const T* share) {
            if (!share) return;
            T* const to = x.d_share.data() + (share - used.share_.data());
            const vector_map d(d_x.data() + column * options_.embedding, size_of(options_.embedding));
            Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(to, size_of(options_.vocabulary)) +=
                matrix_map(memory_.values(0), size_of(options_.vocabulary), size_of(options_.embedding)) * d;
        });
    }

    step_report step(const step_options& o) { return options_.optimizer(optimizer_state_, memory_.blocks(), o); }
    void discard() { memory_.clear_gradients(); }
    /// The same parameters, no gradients and an optimiser without memory.
    cnn_scorer clone() const {
        cnn_scorer copy = *this;
        copy.discard();
        copy.optimizer_state_ = {};
        return copy;
    }

    std::span<const parameter_block<T>> parameters() { return memory_.blocks(); }
    adamw::state<T>& optimizer_state() { return optimizer_state_; }
    const cnn_scorer_options& options() const { return options_; }

private:
    using row_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using column_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    using matrix_map = Eigen::Map<const row_major>;
    using vector_map = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>>;
    using windows = Eigen::Map<const column_major, 0, Eigen::OuterStride<>>;

    static constexpr Eigen::Index size_of(std::size_t n) { return static_cast<Eigen::Index>(n); }
    static constexpr std::size_t filter_block(std::size_t k) { return 1 + 2 * k; }
    std::size_t head_block() const { return 1 + 2 * options_.widths.size(); }
    std::size_t features() const { return options_.filters * options_.widths.size(); }

    /// f(column of x, token, its shares or null) for every token that a row has, prompts first.
    template <class F>
    void for_each_input(const tape& t, F&& f) const {
        for (std::size_t i = 0; i < rows(t.rows_); ++i) {
            std::size_t column = t.column_[i];
            if (rows(t.rows_.prompt) > 0)
                for (const std::int32_t token : t.rows_.prompt.row(i))
                    f(column++, static_cast<std::size_t>(token), nullptr);
            for (std::size_t k = t.rows_.offset[i]; k < t.rows_.offset[i + 1]; ++k)
                f(column++, static_cast<std::size_t>(t.rows_.token[k]),
                  t.share_.empty() ? nullptr : t.share_.data() + k * options_.vocabulary);
        }
    }

    tape run(const token_batch<T>& b, const std::vector<T>* share, std::span<T> score) {
        const char* const function = "cnn_scorer::forward";
        detail::check_size(score.size(), rows(b), function, "score");
        if (rows(b.prompt) > 0) detail::check_size(rows(b.prompt), rows(b), function, "batch.prompt");
        for (const auto* tokens : {&b.prompt.token, &b.token})
            for (const std::int32_t token : *tokens)
                if (token < 0 || static_cast<std::size_t>(token) >= options_.vocabulary) [[unlikely]]
                    fail(error_kind::numeric, function, "batch", short_text("tokens in 0 .. ", options_.vocabulary - 1),
                         short_text(token));
        tape t;
        t.rows_ = b;
        t.filled_ = true;
        if (share) t.share_ = *share;
        const std::size_t widest = *std::max_element(options_.widths.begin(), options_.widths.end());
        t.column_.assign(1, 0);
        for (std::size_t i = 0; i < rows(b); ++i) {
            const std::size_t said = rows(b.prompt) > 0 ? b.prompt.row(i).size() : 0;
            t.column_.push_back(t.column_.back() + std::max(said + b.length[i], widest));
        }
        const std::size_t embedding = options_.embedding, columns = t.column_.back();
        t.x_.assign(embedding * columns, T{0});
        for_each_input(t, [&](std::size_t column, std::size_t token, const T* mixture) {
            T* const to = t.x_.data() + column * embedding;
            if (mixture)
                Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(to, size_of(embedding)).noalias() =
                    matrix_map(memory_.values(0), size_of(options_.vocabulary), size_of(embedding)).transpose() *
                    vector_map(mixture, size_of(options_.vocabulary));
            else
                std::copy_n(memory_.values(0) + token * embedding, embedding, to);
        });
        t.feature_.assign(features() * rows(b), T{0});
        t.best_.assign(features() * rows(b), 0);
        for (std::size_t k = 0; k < options_.widths.size() && rows(b) > 0; ++k) {
            const std::size_t width = options_.widths[k];
            // Windows across rows are computed too, and not looked at.
            match_.noalias() =
                matrix_map(memory_.values(filter_block(k)), size_of(options_.filters), size_of(width * embedding)) *
                windows(t.x_.data(), size_of(width * embedding), size_of(columns + 1 - width),
                        Eigen::OuterStride<>(size_of(embedding)));
            for (std::size_t i = 0; i < rows(b); ++i)
                for (std::size_t f = 0; f < options_.filters; ++f) {
                    std::size_t best = t.column_[i];
                    for (std::size_t c = best + 1; c + width <= t.column_[i + 1]; ++c)
                        if (match_(size_of(f), size_of(c)) > match_(size_of(f), size_of(best))) best = c;
                    const std::size_t at = i * features() + k * options_.filters + f;
                    const T value = match_(size_of(f), size_of(best)) + memory_.values(filter_block(k) + 1)[f];
                    t.feature_[at] = value < 0 ? T{0} : value;
                    t.best_[at] = static_cast<std::uint32_t>(best);
                }
        }
        for (std::size_t i = 0; i < rows(b); ++i) {
            double total = static_cast<double>(*memory_.values(head_block() + 1));
            for (std::size_t f = 0; f < features(); ++f)
                total += static_cast<double>(memory_.values(head_block())[f]) *
                         static_cast<double>(t.feature_[i * features() + f]);
            score[i] = static_cast<T>(total);
        }
        return t;
    }

    tape take(tape& t, std::span<const T> d_score, const char* function) {
        if (!t.filled_) [[unlikely]]
            fail(error_kind::shape, function, "tape", "a tape of forward", "one that was used");
        detail::check_size(d_score.size(), rows(t.rows_), function, "d_score");
        return std::exchange(t, {});
    }

    /// d_x, and with `parameters` the gradients of filters and biases: only each filter's best window has any.
    void spread(const tape& t, std::span<const T> d_score, std::vector<T>& d_x, bool parameters) {
        const std::size_t embedding = options_.embedding;
        for (std::size_t i = 0; i < d_score.size(); ++i)
            for (std::size_t k = 0; k < options_.widths.size(); ++k)
                for (std::size_t f = 0; f < options_.filters; ++f) {
                    const std::size_t at = i * features() + k * options_.filters + f;
                    if (!(t.feature_[at] > 0)) continue;
                    const std::size_t n = options_.widths[k] * embedding, first = t.best_[at] * embedding;
                    const T d = d_score[i] * memory_.values(head_block())[k * options_.filters + f];
                    const T* const filter = memory_.values(filter_block(k)) + f * n;
                    for (std::size_t e = 0; e < n; ++e) d_x[first + e] += d * filter[e];
                    if (!parameters) continue;
                    T* const d_filter = memory_.gradients(filter_block(k)) + f * n;
                    for (std::size_t e = 0; e < n; ++e) d_filter[e] += d * t.x_[first + e];
                    memory_.gradients(filter_block(k) + 1)[f] += d;
                }
    }

    cnn_scorer_options options_;
    detail::lstm::parameter_memory<T> memory_;
    adamw::state<T> optimizer_state_;
    column_major match_;  ///< [filters, windows]
};

}  // namespace rlgaf::inline RLGAF_ABI
