#pragma once
#include "rlgaf/models/lstm/token_scorer.hpp"
#include "rlgaf/models/lstm_perturbation.hpp"
#include "rlgaf/models/lstm_policy.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A discriminator or reward model with one LSTM layer: reads prompt and completion, gives one number, or `outputs`.
///
/// Formula: states as in lstm_policy, after all actions are read; score = head . (mask * pooled) + head_bias.
///          A terminated row ends with the end-of-sequence token, a truncated one does not: they score differently.
///          Token scores are those of the row up to and with the token: pooling::mean is the mean of the states so far.
///          Moved inputs: an embedding plus its displacement is read in place of the embedding; never the start token's.
///          Relaxed rows: share^T embedding is read in place of a completion's embeddings.
/// Shapes:  scores [B, outputs]; token scores as the completions. parameters() are embedding [V + 1, E] (last row:
///          start), input [E, 4H], recurrent [H, 4H], bias [4H], head [H, outputs], head_bias [outputs].
/// Adds:    backward adds to the gradients in parameters(); input_gradient, input_cotangent and attribute
///          add nothing there.
/// Errors:  shape_error, numeric_error (a token out of range), option_error (token scores with several outputs).
/// Needs, threads: as lstm_policy. The k-th forward of a scorer drops units of its own, the same ones at every token of
///          a row; dropping does not depend on threads. Rows with moved inputs share no states: they cost what rows
///          without common beginnings cost.
template <class T>
class lstm_scorer : public detail::lstm::token_scorer<T> {
    using model = detail::lstm::token_scorer<T>;
    using model::memory_, model::options_, model::body_, model::mixed_, model::pool_;
    using work = detail::lstm::scorer_work<T>;

public:
    using scalar = T;
    using perturbation = detail::lstm::perturbation<T>;  ///< opaque
    using relaxed = relaxed_rows<T>;
    using model::forward;
    using typename model::tape;

    explicit lstm_scorer(const lstm_scorer_options& options) : model(options) {
        memory_.randomize(detail::lstm::first_head_block, 1 / std::sqrt(static_cast<double>(options.hidden)),
                          options.seed);
    }
    /// Begins with the policy's embedding and recurrent weights, and with a head of zeros: every score is 0.
    /// Vocabulary, embedding and hidden are the policy's.
    lstm_scorer(const lstm_policy<T>& policy, const lstm_scorer_options& options)
        : model(detail::lstm::sized_as(policy, options)) {
        this->copy_blocks(policy, detail::lstm::first_head_block);
    }

    /// Without dropout, where the inputs are moved by p.
    tape forward(const token_batch<T>& b, const perturbation& p, std::span<T> score) {
        return this->kept(p.empty() ? this->run(b, score, true, false) : run_moved(b, p, score));
    }
    /// Rows of shares. With dropout, as other rows.
    tape forward(const relaxed& x, std::span<T> score) { return this->kept(run_mixed(x, score)); }

    /// Adds to x.d_share the gradient of the sum of d_score times score; an empty d_share starts at 0. t is of
    /// forward(x, score).
    /// Errors: shape_error.
    void input_cotangent(tape&& t, std::span<const T> d_score, relaxed& x) {
        const char* const function = "lstm_scorer::input_cotangent";
        std::unique_ptr<work> w = this->taken(t, d_score, function);
        detail::check_size(x.share.size(), w->mixed ? w->share.size() : 0, function, "x.share");
        this->prepare_backward(*w, d_score);
        backward_moved(body_, *w, false);
        gather_mixed(*w, this->body_sizes());
        const std::size_t n = x.hard.token.size(), vocabulary = detail::lstm::padded<T>(options_.vocabulary);
        mixed_.assign(embeddings(), this->body_sizes());
        T* const d_share = w->d_share.need(vocabulary * n);
        mixed_.spread(w->mixed_input.data(), n, d_share);
        x.d_share.resize(x.share.size(), T{0});
        for (std::size_t k = 0; k < n; ++k)
            for (std::size_t v = 0; v < options_.vocabulary; ++v)
                x.d_share[k * options_.vocabulary + v] += d_share[k * vocabulary + v];
        pool_.give_back(std::move(w));
    }

    /// Normal numbers of deviation sigma: those of row i are sample i of stream::noise.
    perturbation noise(const token_batch<T>& b, double sigma, rng_key key, std::size_t first = 0) const {
        return perturbation::noise(b, options_.embedding, sigma, key, first);
    }
    /// Displaces the completion of row i of a by d[i] of the way to row i of b, at the positions that both have. Prompts
    /// are the same and stay.
    /// Errors: shape_error, numeric_error (a token out of range).
    perturbation towards(const token_batch<T>& a, const token_batch<T>& b, std::span<const T> d) const {
        for (const token_batch<T>* const x : {&a, &b})
            detail::lstm::check_tokens(x->token, options_.vocabulary, "lstm_scorer::towards", "batch.token");
        return perturbation::towards(a, b, d, embeddings(), options_.embedding);
    }
    /// Of the sum of d times score, by the inputs where they are moved by p.
    perturbation input_gradient(const token_batch<T>& b, const perturbation& p, std::span<const T> d) {
        detail::check_size(d.size(), rows(b) * options_.outputs, "lstm_scorer::input_gradient", "d");
        unasked_.resize(d.size());
        std::unique_ptr<work> w =
            run_moved(b, p.empty() ? perturbation(b, options_.embedding) : p, std::span<T>(unasked_));
        this->prepare_backward(*w, d);
        backward_moved(body_, *w, false);
        perturbation g(b, options_.embedding);
        for_each_moved(*w, [&](std::size_t i, std::size_t t, const T* d_input) {
            if (t > 0) std::copy_n(d_input, options_.embedding, g.row(i).data() + (t - 1) * options_.embedding);
        });
        pool_.give_back(std::move(w));
        return g;
    }
    /// Ability attributes_tokens: e_t . d score / d e_t, of the mean of a row's numbers.
    void attribute(const token_batch<T>& b, ragged_view<T> weight) {
        detail::check_same_shape(tokens(b), weight, "lstm_scorer::attribute", "weight");
        const auto n = static_cast<T>(options_.outputs);
        const perturbation g = input_gradient(b, {}, std::vector<T>(rows(b) * options_.outputs, 1 / n));
        for (std::size_t i = 0; i < rows(b); ++i) g.inner_products(i, b.row(i), embeddings(), weight.row(i));
    }
    void row_norms(const perturbation& p, std::span<T> norm) const { p.row_norms(norm); }
    void scale(perturbation& p, std::span<const T> by) const { p.scale(by); }
    void add(perturbation& to, const perturbation& p) const { to.add(p); }

    /// The same parameters, no gradients, an optimiser without memory and dropout from its first forward on, as if they
    /// were loaded from a file.
    lstm_scorer clone() const {
        lstm_scorer copy = *this;
        copy.forget();
        copy.forwards_ = 0;
        return copy;
    }

private:
    const T* embeddings() const { return memory_.values(detail::lstm::embedding_block); }

    std::unique_ptr<work> run_moved(const token_batch<T>& b, const perturbation& p, std::span<T> score) {
        p.check(b, options_.embedding, "lstm_scorer::forward");
        std::unique_ptr<work> w = this->begin(b, score, false);
        forward_moved(body_, this->head(), embeddings(), *w, score, [&](std::size_t i, std::size_t t, T* to) {
            if (t == 0) return;
            const T* const by = p.row(i).data() + (t - 1) * options_.embedding;
            for (std::size_t j = 0; j < options_.embedding; ++j) to[j] += by[j];
        });
        return w;
    }
    std::unique_ptr<work> run_mixed(const relaxed& x, std::span<T> score) {
        const std::size_t n = x.hard.token.size();
        detail::check_size(x.vocabulary, options_.vocabulary, "lstm_scorer::forward", "x.vocabulary");
        detail::check_size(x.share.size(), n * x.vocabulary, "lstm_scorer::forward", "x.share");
        std::unique_ptr<work> w = this->begin(x.hard, score, options_.dropout > 0);
        w->mixed = true;
        w->share = x.share;
        w->offset = x.hard.offset;
        mixed_.assign(embeddings(), this->body_sizes());
        const std::size_t stride = mixed_.stride();
        T* const mixed = w->mixed_input.need(stride * n);
        mixed_.mix(x.share.data(), n, mixed);
        forward_moved(body_, this->head(), embeddings(), *w, score, [&](std::size_t i, std::size_t t, T* to) {
            if (const std::size_t said = w->depth[i] - w->length[i]; t >= said)
                std::copy_n(mixed + (w->offset[i] + t - said) * stride, options_.embedding, to);
        });
        return w;
    }

    detail::lstm::transient<std::vector<T>> unasked_;  ///< scores
};

}  // namespace rlgaf::inline RLGAF_ABI
