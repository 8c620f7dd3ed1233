#pragma once
#include "rlgaf/backend/relaxed_rows.hpp"
#include "rlgaf/models/cnn/phrase_model.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A discriminator that looks for telling phrases: filters over a few tokens, each row's best match of each filter, and a
/// sum of these, or `outputs` sums. It cannot count what comes twice.
///
/// Formula: x = embeddings of prompt and completion (or share^T embedding), then zeros up to the widest filter at least;
///          feature[f] = max(0, max over t of filter_f . (x_t, ..., x_{t + width - 1}) + bias_f);
///          score = head . (mask * feature) + head_bias, the mask that of dropout in forward.
/// Shapes:  scores [B, outputs]. parameters() are embedding [V, E], then for each width filter [F, width E] and bias [F], then
///          head [widths F, outputs] and head_bias [outputs].
/// Adds:    backward adds to the gradients in parameters(); input_cotangent to x.d_share only.
/// At kinks: of equal windows the first one; a feature of 0 has no gradient.
/// Errors:  shape_error, numeric_error (a token out of range), option_error.
/// Needs:   one thread at a time. Parameters stay as they are while a tape lives. The k-th forward of a scorer drops
///          features of its own.
/// Source:  Kim 2014, arXiv 1408.5882; as discriminator: Yu et al. 2017, arXiv 1609.05473 (SeqGAN, with a highway layer);
///          Nie, Narodytska and Patel 2019, ICLR (RelGAN).
template <class T>
class cnn_scorer : public detail::phrase_model<T> {
    using model = detail::phrase_model<T>;
    using model::memory_, model::options_;

public:
    using scalar = T;
    using relaxed = relaxed_rows<T>;
    using perturbation = detail::lstm::perturbation<T>;

    /// What backward needs. To be handed to `backward` of the scorer that made it.
    class tape {
        friend class cnn_scorer;
        detail::matched_rows<T> matched_;
    };

    explicit cnn_scorer(const cnn_scorer_options& options) : model(options) {}

    /// Errors: shape_error, numeric_error.
    void evaluate(const token_batch<T>& b, std::span<T> score) { (void)this->run(b, nullptr, score, false); }
    tape forward(const token_batch<T>& b, std::span<T> score) {
        return kept(this->run(b, nullptr, score, options_.dropout > 0));
    }
    /// Without dropout, where the inputs are moved by p.
    tape forward(const token_batch<T>& b, const perturbation& p, std::span<T> score) {
        return kept(this->run(b, nullptr, score, false, p));
    }
    /// Rows of shares. With dropout, as other rows.
    tape forward(const relaxed& x, std::span<T> score) {
        detail::check_size(x.vocabulary, options_.vocabulary, "cnn_scorer::forward", "x.vocabulary");
        detail::check_size(x.share.size(), x.hard.token.size() * x.vocabulary, "cnn_scorer::forward", "x.share");
        return kept(this->run(x.hard, &x.share, score, options_.dropout > 0));
    }

    /// Errors: shape_error.
    void backward(tape&& t, std::span<const T> d_score) {
        const detail::matched_rows<T> used = take(t, d_score, "cnn_scorer::backward");
        std::vector<T> d_x(used.x.size(), T{0});
        this->spread(used, d_score, d_x, true);
        T* const d_head = memory_.gradients(this->head_block());
        T* const d_bias = memory_.gradients(this->head_block() + 1);
        const std::size_t width = this->width();
        for (std::size_t i = 0; i < rows(used.batch); ++i)
            for (std::size_t o = 0; o < width; ++o) {
                const T d = d_score[i * width + o];
                for (std::size_t f = 0; f < this->features(); ++f)
                    d_head[f * width + o] += d * used.feature[i * this->features() + f];
                d_bias[o] += d;
            }
        used.for_each_input(options_.vocabulary, [&](std::size_t column, std::size_t token, const T* share) {
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
        const detail::matched_rows<T> used = take(t, d_score, "cnn_scorer::input_cotangent");
        detail::check_size(x.share.size(), used.share.size(), "cnn_scorer::input_cotangent", "x.share");
        std::vector<T> d_x(used.x.size(), T{0});
        this->spread(used, d_score, d_x, false);
        x.d_share.resize(x.share.size(), T{0});
        used.for_each_input(options_.vocabulary, [&](std::size_t column, std::size_t, const T* share) {
            if (!share) return;
            T* const to = x.d_share.data() + (share - used.share.data());
            const typename model::vector_map d(d_x.data() + column * options_.embedding,
                                               this->size_of(options_.embedding));
            Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(to, this->size_of(options_.vocabulary)) +=
                typename model::matrix_map(memory_.values(0), this->size_of(options_.vocabulary),
                                           this->size_of(options_.embedding)) *
                d;
        });
    }

    /// Normal numbers of deviation sigma; row i of b is row first + i of the step. Errors: option_error.
    perturbation noise(const token_batch<T>& b, double sigma, rng_key key, std::size_t first = 0) const {
        return perturbation::noise(b, options_.embedding, sigma, key, first);
    }
    /// Displaces the completion of row i of a by d[i] of the way to row i of b, at the positions that both have.
    /// Errors: shape_error, numeric_error (a token out of range).
    perturbation towards(const token_batch<T>& a, const token_batch<T>& b, std::span<const T> d) const {
        for (const token_batch<T>* const x : {&a, &b})
            detail::lstm::check_tokens(x->token, options_.vocabulary, "cnn_scorer::towards", "batch.token");
        return perturbation::towards(a, b, d, memory_.values(0), options_.embedding);
    }
    /// Of the sum of d times score, by the inputs where they are moved by p. Errors: shape_error, numeric_error.
    perturbation input_gradient(const token_batch<T>& b, const perturbation& p, std::span<const T> d) {
        detail::check_size(d.size(), rows(b) * this->width(), "cnn_scorer::input_gradient", "d");
        std::vector<T> score(d.size());
        const detail::matched_rows<T> used = this->run(b, nullptr, score, false, p);
        std::vector<T> d_x(used.x.size(), T{0});
        this->spread(used, d, d_x, false);
        perturbation g(b, options_.embedding);
        for (std::size_t i = 0; i < rows(b); ++i)
            std::copy_n(d_x.data() + used.column[i] * options_.embedding, g.row(i).size(), g.row(i).data());
        return g;
    }
    void row_norms(const perturbation& p, std::span<T> norm) const { p.row_norms(norm); }
    void scale(perturbation& p, std::span<const T> by) const { p.scale(by); }
    void add(perturbation& to, const perturbation& p) const { to.add(p); }

    /// Ability attributes_tokens: e_t . d score / d e_t, of the mean of a row's numbers.
    /// Errors: shape_error, numeric_error.
    void attribute(const token_batch<T>& b, ragged_view<T> weight) {
        detail::check_same_shape(tokens(b), weight, "cnn_scorer::attribute", "weight");
        const auto n = static_cast<T>(this->width());
        const perturbation g = input_gradient(b, {}, std::vector<T>(rows(b) * this->width(), 1 / n));
        for (std::size_t i = 0; i < rows(b); ++i) g.inner_products(i, b.row(i), memory_.values(0), weight.row(i));
    }

    /// The same parameters, no gradients, an optimiser without memory and dropout from its first forward on.
    cnn_scorer clone() const {
        cnn_scorer copy = *this;
        copy.forget();
        copy.forwards_ = 0;
        return copy;
    }

private:
    static tape kept(detail::matched_rows<T>&& matched) {
        tape t;
        t.matched_ = std::move(matched);
        return t;
    }
    detail::matched_rows<T> take(tape& t, std::span<const T> d_score, const char* function) {
        if (!t.matched_.filled) [[unlikely]]
            fail(error_kind::shape, function, "tape", "a tape of forward", "one that was used");
        detail::check_size(d_score.size(), rows(t.matched_.batch) * this->width(), function, "d_score");
        return std::exchange(t.matched_, {});
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
