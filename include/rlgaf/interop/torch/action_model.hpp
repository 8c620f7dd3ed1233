#pragma once
#include "rlgaf/interop/torch/adapter.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// The part of torch_policy that says how likely given actions are.
template <class Module>
class torch_action_model : public torch_adapter<Module, torch_policy_options> {
public:
    using scalar = float;
    using batch = token_batch<float>;

    class tape {
        friend torch_action_model;
        torch::Tensor log_prob, all;     // [N] of the N unmasked actions, [N, V]
        torch::Tensor logits, d_logits;  // [N, V] where there was a visitor
        torch_slots slots;
    };

    void evaluate(const batch& b, policy_outputs<scalar> out) {
        const torch::NoGradGuard no_grad;
        read(b, out, false);
    }
    tape forward(const batch& b, policy_outputs<scalar> out) {
        const torch::AutoGradMode grad(true);
        return read(b, out, options_.train_mode);
    }
    /// Ability exposes_logits.
    tape forward(const batch& b, policy_outputs<scalar> out, logit_visitor<scalar> visitor) {
        const torch::AutoGradMode grad(true);
        return read(b, out, options_.train_mode, &visitor);
    }

    void backward(tape&& t, policy_cotangents<scalar> c) {
        const tape done = std::move(t);
        if (!done.log_prob.defined() || !done.log_prob.requires_grad()) return;
        refuse_value(c.d_value.empty(), "torch_policy::backward", "d_value");
        std::vector<torch::Tensor> output, gradient;
        const auto gather = [&](const ragged_view<const float>& from, const char* argument) {
            return done.slots.gather(from, done.log_prob, "torch_policy::backward", argument);
        };
        if (done.d_logits.defined()) {
            output.push_back(done.logits);
            gradient.push_back(done.d_logits);
        }
        if (!c.d_log_prob.empty()) {
            output.push_back(done.log_prob);
            gradient.push_back(gather(c.d_log_prob, "d_log_prob"));
        }
        if (!c.d_entropy.empty()) {
            const torch::AutoGradMode grad(true);
            output.push_back(entropy_of(done.all));
            gradient.push_back(gather(c.d_entropy, "d_entropy"));
        }
        if (!output.empty()) torch::autograd::backward(output, gradient);
    }

protected:
    using adapter = torch_adapter<Module, torch_policy_options>;
    using adapter::torch_adapter, adapter::options_, adapter::model_;

    static void refuse_value(bool empty, const char* function, const char* argument) {
        if (!empty) fail(error_kind::option, function, argument, "an empty view (no module output is a value)", "rows");
    }

    void check_logits(const torch::Tensor& logits, const torch::Tensor& tokens) const {
        if (!logits.defined() || logits.dim() != 3 || logits.size(0) != tokens.size(0) ||
            logits.size(1) != tokens.size(1) || !logits.is_floating_point()) [[unlikely]]
            fail(error_kind::shape, "torch_policy", "module.forward",
                 "floating-point logits [B, T, V] = [" + std::to_string(tokens.size(0)) + ", " +
                     std::to_string(tokens.size(1)) + ", V] of tokens " + torch_shape(tokens),
                 torch_shape(logits));
    }
    static void check_begin(std::int64_t begin, std::size_t row) {
        if (begin == 0) [[unlikely]]
            fail(error_kind::shape, "torch_policy", "row " + std::to_string(row),
                 "a prompt, or .start_token, before the first action", "nothing");
    }

private:
    tape read(const batch& b, const policy_outputs<scalar>& out, bool train,
              const logit_visitor<scalar>* visitor = nullptr) {
        const auto shape = ragged_view<const float>::packed(nullptr, b.offset);
        check_same_shape_if_given(shape, out.log_prob, "torch_policy", "log_prob");
        check_same_shape_if_given(shape, out.entropy, "torch_policy", "entropy");
        refuse_value(out.value.empty(), "torch_policy", "value");

        // The completion's last token is an action and never an input.
        const torch_rows in = this->rows_of(b, 1);
        std::vector<std::int64_t> position, action;
        std::vector<double> temperature;
        bool tempered = false;
        for_each_token(shape, mask(b), [&](std::size_t i, std::size_t t) {
            if (t == 0) check_begin(in.begin[i], i);
            position.push_back(static_cast<std::int64_t>(i) * in.tokens.size(1) + in.begin[i] - 1 +
                               static_cast<std::int64_t>(t));
            action.push_back(b.row(i)[t]);
            temperature.push_back(b.temperature[i]);
            tempered = tempered || b.temperature[i] != 1;
        });
        tape result;
        result.slots = {b.offset, b.mask};
        if (position.empty()) return result;

        const torch::Tensor logits = model_.run(in, train);
        check_logits(logits, in.tokens);
        for (const std::int64_t a : action)
            if (a < 0 || a >= logits.size(2)) [[unlikely]]
                fail(error_kind::numeric, "torch_policy", "tokens",
                     "actions from 0 to V - 1 = " + std::to_string(logits.size(2) - 1), std::to_string(a));
        torch::Tensor z = logits.reshape({-1, logits.size(2)}).index_select(0, torch_tensor(position, logits));
        if (z.scalar_type() == torch::kHalf || z.scalar_type() == torch::kBFloat16) z = z.to(torch::kFloat);
        if (tempered) z = z / torch_tensor(temperature, z).unsqueeze(1);
        result.all = torch::log_softmax(z, -1);
        result.log_prob = result.all.gather(1, torch_tensor(action, z).unsqueeze(1)).squeeze(1);

        torch_scatter(mask(b), result.log_prob, out.log_prob);
        if (!out.entropy.empty()) {
            const torch::NoGradGuard no_grad;
            torch_scatter(mask(b), entropy_of(result.all), out.entropy);
        }
        if (visitor) {
            result.logits = z;
            result.d_logits = show(z, *visitor);
        }
        return result;
    }

    /// A probability of 0 adds nothing and has no gradient.
    static torch::Tensor entropy_of(const torch::Tensor& all) {
        const torch::Tensor finite = all.clamp_min(-1e30);
        return -(finite.exp() * finite).sum(-1);
    }

    /// Shows [N, V] to the visitor, a bounded part at a time, and returns what it adds.
    static torch::Tensor show(const torch::Tensor& logits, const logit_visitor<float>& visitor) {
        const torch::NoGradGuard no_grad;
        const std::int64_t tokens = logits.size(0), size = logits.size(1);
        const std::int64_t part = std::max<std::int64_t>(1, (std::int64_t{1} << 22) / std::max<std::int64_t>(1, size));
        const auto vocabulary = static_cast<std::size_t>(size);
        const torch::Tensor all = torch::empty_like(logits);
        for (std::int64_t first = 0; first < tokens; first += part) {
            const std::int64_t count = std::min(part, tokens - first);
            const torch::Tensor host = torch_host(logits.narrow(0, first, count)), d = torch::zeros_like(host);
            for (std::int64_t i = 0; i < count; ++i)
                visitor(static_cast<std::size_t>(first + i),
                        std::span<const float>(host.template data_ptr<float>() + i * size, vocabulary),
                        std::span(d.template data_ptr<float>() + i * size, vocabulary));
            all.narrow(0, first, count).copy_(d);
        }
        return all;
    }
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
