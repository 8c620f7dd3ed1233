#pragma once
#include "rlgaf/interop/torch/adapter.hpp"
#include "rlgaf/interop/torch/reading.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// The part of torch_scorer that scores rows of tokens, and tokens.
template <class Module>
class torch_row_scorer : public torch_adapter<Module, torch_scorer_options> {
public:
    using scalar = float;
    using batch = token_batch<float>;

    class tape {
        friend torch_row_scorer;
        torch::Tensor score;  // [B, W]
        std::size_t count = 0;
    };
    class token_tape {
        friend torch_row_scorer;
        torch::Tensor score;  // [N] of the N unmasked tokens
        torch_slots slots;
    };
    std::size_t width() const { return static_cast<std::size_t>(options_.width); }

    void evaluate(const batch& b, std::span<scalar> score) {
        const torch::NoGradGuard no_grad;
        read(b, score, false);
    }
    tape forward(const batch& b, std::span<scalar> score) {
        const torch::AutoGradMode grad(true);
        return read(b, score, options_.train_mode);
    }
    void backward(tape&& t, std::span<const scalar> d_score) {
        const tape done = std::move(t);
        check_size(d_score.size(), done.count, "torch_scorer::backward", "d_score");
        if (done.score.defined() && done.score.requires_grad()) done.score.backward(like_scores(d_score, done.score));
    }

    /// Ability scores_tokens. Masked slots are left alone. Errors: option_error unless width is 1.
    void evaluate_tokens(const batch& b, ragged_view<scalar> score) {
        const torch::NoGradGuard no_grad;
        read_tokens(b, score, false);
    }
    token_tape forward_tokens(const batch& b, ragged_view<scalar> score) {
        const torch::AutoGradMode grad(true);
        return read_tokens(b, score, options_.train_mode);
    }
    void backward_tokens(token_tape&& t, ragged_view<const scalar> d_score) {
        const token_tape done = std::move(t);
        if (!done.score.defined() || !done.score.requires_grad()) return;
        done.score.backward(done.slots.gather(d_score, done.score, "torch_scorer::backward_tokens", "d_score"));
    }

protected:
    using adapter = torch_adapter<Module, torch_scorer_options>;
    using adapter::torch_adapter, adapter::options_, adapter::model_;

    torch::Tensor checked(torch::Tensor out, const torch_rows& in) const {
        return torch_checked_scores(std::move(out), in, options_.width);
    }
    /// What the module returned for the rows, kept for backward.
    tape kept(const torch::Tensor& returned, const batch& b, const torch_rows& in, std::span<scalar> score) const {
        tape result = begin(b, score);
        result.score = scores(returned, b, in);
        write(result.score, score);
        return result;
    }
    tape begin(const batch& b, std::span<scalar> score) const {
        tape result;
        result.count = rows(b) * width();
        check_size(score.size(), result.count, "torch_scorer", "score");
        return result;
    }
    tape read(const batch& b, std::span<scalar> score, bool train) {
        if (rows(b) == 0) return begin(b, score);
        const torch_rows in = this->rows_of(b);
        return kept(model_.run(in, train), b, in, score);
    }
    static void write(const torch::Tensor& from, std::span<scalar> to) {
        const torch::Tensor host = torch_host(from);
        std::copy_n(host.template data_ptr<float>(), to.size(), to.begin());
    }
    static torch::Tensor like_scores(std::span<const scalar> d, const torch::Tensor& score) {
        return torch_tensor(std::vector<float>(d.begin(), d.end()), score).view_as(score);
    }

    torch::Tensor scores(const torch::Tensor& returned, const batch& b, const torch_rows& in) const {
        const torch::Tensor out = checked(returned, in);
        return out.dim() == 3 ? torch_read(out, b, in, options_.reading) : out;
    }

    token_tape read_tokens(const batch& b, const ragged_view<scalar>& score, bool train) {
        check_option(options_.width == 1, "torch_scorer_options", "width", "1 for scores of tokens", options_.width);
        check_same_shape(tokens(b), score, "torch_scorer", "score");
        const torch_rows in = this->rows_of(b);
        std::vector<std::int64_t> position;
        for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t t) {
            position.push_back(static_cast<std::int64_t>(i) * in.tokens.size(1) + in.begin[i] +
                               static_cast<std::int64_t>(t));
        });
        token_tape result;
        result.slots = {b.offset, b.mask};
        if (position.empty()) return result;
        const torch::Tensor out = checked(model_.run(in, train), in);
        if (out.dim() != 3) [[unlikely]]
            fail(error_kind::shape, "torch_scorer", "module.forward",
                 "[B, T] = " + torch_shape(in.tokens) + " for scores of tokens", torch_shape(out.squeeze(-1)));
        result.score = out.flatten().index_select(0, torch_tensor(position, out));
        torch_scatter(mask(b), result.score, score);
        return result;
    }
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
