#pragma once
#include "rlgaf/interop/torch/row_scorer.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A discriminator or reward model over tokens made of a torch module; one number a row, or `.width` of them.
/// Formula: score = out[b] of a module that returns [B]; of one that returns [B, T], what `reading` says. A row without
///          any position scores 0 and has no gradient. The score of a token is out[b, t] at its position.
/// Inputs:  a perturbation moves embeddings, at all positions before the padding: start token, prompt and completion.
///          `towards` pairs positions from the beginning of the rows on. Element e of position t of row i gets noise
///          number t * E + e of sample i, on every device.
/// Errors:  shape_error for an output that is neither [B] nor [B, T] ([B, W] nor [B, T, W]), for scores of tokens where
///          it is not [B, T], for a perturbation of rows of other lengths.
/// Needs:   rows that do not depend on each other, nor on how much padding follows them. Scores of tokens: a causal
///          module. Perturbations and attribute: forward(tokens) = forward_embedded(embed(tokens)).
template <class Module>
class torch_scorer : public detail::torch_row_scorer<Module> {
    using model = detail::torch_row_scorer<Module>;
    using model::options_, model::model_;
    using net = typename model::net;
    static_assert(detail::torch_reads_tokens<net> || detail::torch_reads_lengths<net>,
                  "rlgaf: the torch module needs `torch::Tensor forward(torch::Tensor tokens)`: int64 [B, T] to scores "
                  "[B] or [B, T]");
    static constexpr bool embeds = detail::torch_embeds<net>;

public:
    using scalar = float;
    using batch = token_batch<float>;
    using model::forward;
    using typename model::tape;

    class perturbation {
        friend torch_scorer;
        torch::Tensor move;  // [B, T, E], 0 at padding; never written to, so that copies may share it
    };

    /// Refers to the holder's module; copies nothing.
    explicit torch_scorer(std::shared_ptr<net> module, torch_scorer_options options = {})
        : model(std::move(module), std::move(options), "torch_scorer") {}
    explicit torch_scorer(const Module& holder, torch_scorer_options options = {}) requires(!std::same_as<Module, net>)
        : torch_scorer(model::held(holder), std::move(options)) {}

    /// For penalties: by the precision that the module computes in.
    double difference_step() const requires embeds { return model_.in_double() ? 1e-4 : 1e-2; }
    /// Ability perturbs_inputs, of modules with `embed` and `forward_embedded`.
    perturbation noise(const batch& b, double sigma, rng_key key, std::size_t first = 0) requires embeds {
        detail::check_option(sigma >= 0, "torch_scorer::noise", "sigma", "0 or positive", sigma);
        if (rows(b) == 0) return {};
        const torch::NoGradGuard no_grad;
        const detail::torch_rows in = this->rows_of(b);
        const torch::Tensor x = model_.embed(in), host = torch::zeros(x.sizes(), torch::kDouble);
        double* row = host.template data_ptr<double>();
        for (std::size_t i = 0; i < rows(b); ++i, row += x.size(1) * x.size(2)) {
            const random_stream random(key, stream::noise, first + i);
            const auto n = static_cast<std::size_t>(in.lengths.template data_ptr<std::int64_t>()[i] * x.size(2));
            for (std::size_t k = 0; k < n; ++k)
                row[k] = sigma *
                         random.normal(static_cast<std::uint32_t>(k & 0xFFFFFF), static_cast<std::uint32_t>(k >> 24));
        }
        return moved_by(host.to(x.device(), x.scalar_type()));
    }
    /// Errors: shape_error unless both batches have as many rows as d.
    perturbation towards(const batch& b, const batch& other, std::span<const scalar> d) requires embeds {
        detail::check_size(d.size(), rows(b), "torch_scorer::towards", "d");
        detail::check_size(rows(other), rows(b), "torch_scorer::towards", "rows of the other batch");
        if (rows(b) == 0) return {};
        const torch::NoGradGuard no_grad;
        const detail::torch_rows from = this->rows_of(b), to = this->rows_of(other);
        const std::int64_t both = std::min(from.tokens.size(1), to.tokens.size(1));
        const torch::Tensor x = model_.embed(from), gap = model_.embed(to).narrow(1, 0, both) - x.narrow(1, 0, both);
        const torch::Tensor outside =
            detail::torch_rows::padding_after(torch::minimum(from.lengths, to.lengths), both).to(x.device());
        const torch::Tensor move = torch::zeros_like(x);
        move.narrow(1, 0, both).copy_((gap * factors(d, x)).masked_fill(outside, 0));
        return moved_by(move);
    }
    perturbation input_gradient(const batch& b, const perturbation& p, std::span<const scalar> d) requires embeds {
        detail::check_size(d.size(), rows(b) * this->width(), "torch_scorer::input_gradient", "d");
        if (rows(b) == 0) return {};
        const detail::torch_rows in = this->rows_of(b);
        const torch::Tensor g = differentiated(b, in, embedded(in, p), d);
        return moved_by(g.masked_fill(in.padding().to(g.device()), 0));
    }
    /// Ability attributes_tokens: e_t . d score / d e_t, of the mean of a row's numbers.
    /// Errors: shape_error.
    void attribute(const batch& b, ragged_view<scalar> weight) requires embeds {
        detail::check_same_shape(tokens(b), weight, "torch_scorer::attribute", "weight");
        if (rows(b) == 0) return;
        const detail::torch_rows in = this->rows_of(b);
        const torch::Tensor x = embedded(in, {});
        const auto n = static_cast<scalar>(this->width());
        const torch::Tensor g = differentiated(b, in, x, std::vector<scalar>(rows(b) * this->width(), 1 / n));
        const torch::Tensor product = detail::torch_host((x.detach().to(torch::kDouble) * g).sum(-1));
        const float* row = product.template data_ptr<float>();
        for (std::size_t i = 0; i < rows(b); ++i, row += product.size(1))
            std::copy_n(row + in.begin[i], weight.length(i), weight.row(i).begin());
    }
    /// Errors: shape_error unless there is a number for each row.
    void row_norms(const perturbation& p, std::span<scalar> norm) const requires embeds {
        check_rows(p, norm.size(), "torch_scorer::row_norms");
        std::fill(norm.begin(), norm.end(), 0.0f);
        if (!p.move.defined()) return;
        const torch::Tensor n = detail::torch_host(p.move.to(torch::kDouble).square().sum({1, 2}).sqrt());
        std::copy_n(n.template data_ptr<float>(), norm.size(), norm.begin());
    }
    void scale(perturbation& p, std::span<const scalar> d) const requires embeds {
        check_rows(p, d.size(), "torch_scorer::scale");
        if (p.move.defined()) p.move = p.move * factors(d, p.move);
    }
    void add(perturbation& p, const perturbation& more) const requires embeds {
        if (p.move.defined() && more.move.defined()) {
            check_shape(more, p.move, "torch_scorer::add");
            p.move = p.move + more.move;
        } else if (more.move.defined()) {
            p.move = more.move;
        }
    }
    tape forward(const batch& b, const perturbation& p, std::span<scalar> score) requires embeds {
        const torch::AutoGradMode grad(true);
        if (rows(b) == 0) return this->begin(b, score);
        const detail::torch_rows in = this->rows_of(b);
        return this->kept(model_.run_embedded(in, embedded(in, p)), b, in, score);
    }

    /// As torch_policy's.
    torch_scorer clone() const requires detail::torch_clonable<net> {
        return torch_scorer(model_.clone_net(), options_);
    }

private:
    static perturbation moved_by(const torch::Tensor& move) {
        perturbation p;
        p.move = move;
        return p;
    }
    /// Of sum(d * score) by the embeddings at x.
    torch::Tensor differentiated(const batch& b, const detail::torch_rows& in, const torch::Tensor& at,
                                 std::span<const scalar> d) {
        const torch::AutoGradMode grad(true);
        const torch::Tensor x = at.detach().requires_grad_(true);
        const torch::Tensor score = this->scores(model_.run_embedded(in, x), b, in);
        torch::Tensor g;
        if (score.requires_grad())
            g = torch::autograd::grad({score}, {x}, {model::like_scores(d, score)}, {}, false, true).front();
        return g.defined() ? g.detach() : torch::zeros_like(x);
    }
    torch::Tensor embedded(const detail::torch_rows& in, const perturbation& p) {
        const torch::Tensor x = model_.embed(in);
        if (!p.move.defined()) return x;
        check_shape(p, x, "torch_scorer");
        return x + p.move;
    }
    static torch::Tensor factors(std::span<const scalar> d, const torch::Tensor& like) {
        return detail::torch_tensor(std::vector<float>(d.begin(), d.end()), like).view({-1, 1, 1});
    }
    static void check_rows(const perturbation& p, std::size_t count, const char* function) {
        if (p.move.defined())
            detail::check_size(count, static_cast<std::size_t>(p.move.size(0)), function, "rows of the perturbation");
    }
    static void check_shape(const perturbation& p, const torch::Tensor& like, const char* function) {
        if (p.move.sizes() != like.sizes()) [[unlikely]]
            fail(error_kind::shape, function, "perturbation", "one of the same rows, " + detail::torch_shape(like),
                 detail::torch_shape(p.move));
    }
};

template <class Holder>
torch_scorer(Holder, torch_scorer_options = {}) -> torch_scorer<Holder>;
template <class Net>
torch_scorer(std::shared_ptr<Net>, torch_scorer_options = {}) -> torch_scorer<Net>;

}  // namespace rlgaf::inline RLGAF_ABI
