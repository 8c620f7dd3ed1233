#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <utility>

#include "rlgaf/models/cnn/matched_rows.hpp"
#include "rlgaf/models/cnn/options.hpp"
#include "rlgaf/models/dropout.hpp"
#include "rlgaf/models/lstm/work.hpp"
#include "rlgaf/models/lstm_perturbation.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// The net of cnn_scorer: embeddings, filters, each row's best match of each filter, and the head.
template <class T>
class phrase_model : public adamw_model<T, cnn_scorer_options> {
public:
    std::size_t width() const { return options_.outputs; }
    template <class Archive>
    void visit(Archive& a) {
        model::visit(a);
        a("forwards", forwards_);
    }

protected:
    using model = adamw_model<T, cnn_scorer_options>;
    using model::memory_, model::options_;
    using row_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using column_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    using matrix_map = Eigen::Map<const row_major>;
    using vector_map = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>>;
    using windows = Eigen::Map<const column_major, 0, Eigen::OuterStride<>>;

    static constexpr Eigen::Index size_of(std::size_t n) { return static_cast<Eigen::Index>(n); }
    static constexpr std::size_t filter_block(std::size_t k) { return 1 + 2 * k; }
    std::size_t head_block() const { return 1 + 2 * options_.widths.size(); }
    std::size_t features() const { return options_.filters * options_.widths.size(); }

    explicit phrase_model(const cnn_scorer_options& options) : model(options) {
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
        memory_.add("head", {features(), width()});
        memory_.randomize(head_block(), std::sqrt(3 / static_cast<double>(features())), options.seed);
        memory_.add("head_bias", {width()});
    }

    matched_rows<T> run(const token_batch<T>& b, const std::vector<T>* share, std::span<T> score, bool drop,
                        const lstm::perturbation<T>& moved = {}) {
        const char* const function = "cnn_scorer::forward";
        detail::check_size(score.size(), rows(b) * width(), function, "score");
        if (rows(b.prompt) > 0) detail::check_size(rows(b.prompt), rows(b), function, "batch.prompt");
        for (const auto* tokens : {&b.prompt.token, &b.token})
            lstm::check_tokens(*tokens, options_.vocabulary, function, "batch");
        matched_rows<T> t;
        t.batch = b;
        t.filled = true;
        if (share) t.share = *share;
        const std::size_t widest = *std::max_element(options_.widths.begin(), options_.widths.end());
        t.column.assign(1, 0);
        for (std::size_t i = 0; i < rows(b); ++i) {
            const std::size_t said = rows(b.prompt) > 0 ? b.prompt.row(i).size() : 0;
            t.column.push_back(t.column.back() + std::max(said + b.length[i], widest));
        }
        embed(t);
        if (!moved.empty()) {
            moved.check(b, options_.embedding, function);
            for (std::size_t i = 0; i < rows(b); ++i) {
                T* to = t.x.data() + t.column[i] * options_.embedding;
                for (const T by : moved.row(i)) *to++ += by;
            }
        }
        match(t);
        if (drop) drop_features(t);
        const T *const head = memory_.values(head_block()), *const bias = memory_.values(head_block() + 1);
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t o = 0; o < width(); ++o) {
                double total = static_cast<double>(bias[o]);
                for (std::size_t f = 0; f < features(); ++f)
                    total +=
                        static_cast<double>(head[f * width() + o]) * static_cast<double>(t.feature[i * features() + f]);
                score[i * width() + o] = static_cast<T>(total);
            }
        return t;
    }

    /// d_x, and with `parameters` the gradients of filters and biases: only each filter's best window has any.
    void spread(const matched_rows<T>& t, std::span<const T> d_score, std::vector<T>& d_x, bool parameters) {
        const std::size_t embedding = options_.embedding;
        for (std::size_t i = 0; i < rows(t.batch); ++i)
            for (std::size_t k = 0; k < options_.widths.size(); ++k)
                for (std::size_t f = 0; f < options_.filters; ++f) {
                    const std::size_t at = i * features() + k * options_.filters + f;
                    if (!(t.feature[at] > 0)) continue;
                    const std::size_t n = options_.widths[k] * embedding, first = t.best[at] * embedding;
                    const T* const head = memory_.values(head_block()) + (k * options_.filters + f) * width();
                    T d = 0;
                    for (std::size_t o = 0; o < width(); ++o) d += d_score[i * width() + o] * head[o];
                    d *= t.kept_scale;
                    const T* const filter = memory_.values(filter_block(k)) + f * n;
                    for (std::size_t e = 0; e < n; ++e) d_x[first + e] += d * filter[e];
                    if (!parameters) continue;
                    T* const d_filter = memory_.gradients(filter_block(k)) + f * n;
                    for (std::size_t e = 0; e < n; ++e) d_filter[e] += d * t.x[first + e];
                    memory_.gradients(filter_block(k) + 1)[f] += d;
                }
    }

    std::uint32_t forwards_ = 0;  ///< with dropout

private:
    void embed(matched_rows<T>& t) const {
        const std::size_t embedding = options_.embedding, columns = t.column.back();
        t.x.assign(embedding * columns, T{0});
        t.for_each_input(options_.vocabulary, [&](std::size_t column, std::size_t token, const T* mixture) {
            T* const to = t.x.data() + column * embedding;
            if (mixture)
                Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(to, size_of(embedding)).noalias() =
                    matrix_map(memory_.values(0), size_of(options_.vocabulary), size_of(embedding)).transpose() *
                    vector_map(mixture, size_of(options_.vocabulary));
            else
                std::copy_n(memory_.values(0) + token * embedding, embedding, to);
        });
    }
    void match(matched_rows<T>& t) {
        const token_batch<T>& b = t.batch;
        const std::size_t embedding = options_.embedding, columns = t.column.back();
        t.feature.assign(features() * rows(b), T{0});
        t.best.assign(features() * rows(b), 0);
        for (std::size_t k = 0; k < options_.widths.size() && rows(b) > 0; ++k) {
            const std::size_t width = options_.widths[k];
            // Windows across rows are computed too, and not looked at.
            match_.noalias() =
                matrix_map(memory_.values(filter_block(k)), size_of(options_.filters), size_of(width * embedding)) *
                windows(t.x.data(), size_of(width * embedding), size_of(columns + 1 - width),
                        Eigen::OuterStride<>(size_of(embedding)));
            for (std::size_t i = 0; i < rows(b); ++i)
                for (std::size_t f = 0; f < options_.filters; ++f) {
                    std::size_t best = t.column[i];
                    for (std::size_t c = best + 1; c + width <= t.column[i + 1]; ++c)
                        if (match_(size_of(f), size_of(c)) > match_(size_of(f), size_of(best))) best = c;
                    const std::size_t at = i * features() + k * options_.filters + f;
                    const T value = match_(size_of(f), size_of(best)) + memory_.values(filter_block(k) + 1)[f];
                    t.feature[at] = value < 0 ? T{0} : value;
                    t.best[at] = static_cast<std::uint32_t>(best);
                }
        }
    }

    void drop_features(matched_rows<T>& t) {
        ++forwards_;
        t.kept_scale = static_cast<T>(1 / (1 - options_.dropout));
        std::vector<T> factor(features());
        for (std::size_t i = 0; i < rows(t.batch); ++i) {
            draw_dropout(std::span<T>(factor), options_.dropout, options_.seed, forwards_, i);
            for (std::size_t f = 0; f < factor.size(); ++f) t.feature[i * factor.size() + f] *= factor[f];
        }
    }

    column_major match_;  ///< [filters, windows]
};

}  // namespace detail

}  // namespace rlgaf::inline RLGAF_ABI
