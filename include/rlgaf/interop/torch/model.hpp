#pragma once
#include <cmath>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/interop/torch/headers.hpp"
#include "rlgaf/interop/torch/module.hpp"
#include "rlgaf/interop/torch/options.hpp"
#include "rlgaf/interop/torch/rows.hpp"
#include "rlgaf/interop/torch/state.hpp"
#include "rlgaf/interop/torch/without_cudnn.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// What policy and scorer share: the module, its parameters and its optimiser.
template <class Net>
class torch_model {
public:
    using parameter = parameter_block<float>;

    template <class Options>
    torch_model(std::shared_ptr<Net> net, const Options& options, const char* name)
        : net_(std::move(net)), name_(name), factory_(options.optimizer), weight_decay_(options.weight_decay) {
        options.check();
        if (!net_) fail(error_kind::option, name_, "module", "a module", "an empty holder");
        if (options.device) net_->to(*options.device);
        const std::vector<torch::Tensor> all = net_->parameters();
        device_ = options.device ? *options.device : all.empty() ? torch::Device(torch::kCPU) : all.front().device();
    }
    Net& net() const { return *net_; }

    /// Errors: shape_error with torch's own words.
    torch::Tensor run(const torch_rows& rows, bool train) {
        return guarded("module.forward", rows, train, [&] {
            const torch::Tensor tokens = rows.tokens.to(device_);
            if constexpr (torch_reads_tokens<Net>)
                return net_->forward(tokens);
            else
                return net_->forward(tokens, rows.lengths.to(device_));
        });
    }
    /// Both with dropout off. Errors: shape_error, also for embeddings that are not [B, T, E].
    torch::Tensor embed(const torch_rows& rows) {
        torch::Tensor x = guarded("module.embed", rows, false, [&] { return net_->embed(rows.tokens.to(device_)); });
        if (!x.defined() || x.dim() != 3 || x.size(0) != rows.tokens.size(0) || x.size(1) != rows.tokens.size(1) ||
            !x.is_floating_point()) [[unlikely]]
            fail(error_kind::shape, name_, "module.embed",
                 "floating-point embeddings [B, T, E] of tokens " + torch_shape(rows.tokens), torch_shape(x));
        return x;
    }
    torch::Tensor run_embedded(const torch_rows& rows, const torch::Tensor& x) {
        return guarded("module.forward_embedded", rows, false, [&] {
            if constexpr (torch_reads_embedded<Net>)
                return net_->forward_embedded(x);
            else
                return net_->forward_embedded(x, rows.lengths.to(device_));
        });
    }

    bool in_double() const {
        const std::vector<torch::Tensor> trained = trainable();
        return !trained.empty() && trained[0].scalar_type() == torch::kDouble;
    }

    step_report step(const step_options& options) {
        options.check();
        const torch::NoGradGuard no_grad;
        const std::vector<torch::Tensor> trained = trainable();
        torch::Tensor squares = torch::zeros({}, torch::dtype(torch::kDouble).device(device_));
        for (const torch::Tensor& p : trained)
            if (p.grad().defined()) squares += p.grad().to(device_, torch::kDouble).square().sum();
        const double norm = std::sqrt(squares.item<double>());
        const step_report report{norm, first_nonfinite(std::span<const double>(&norm, 1)) == 1};
        if (report.applied && !trained.empty()) {
            if (options.max_norm > 0 && norm > options.max_norm)
                for (const torch::Tensor& p : trained)
                    if (p.grad().defined()) p.grad().mul_(options.max_norm / norm);
            begin_optimizer(trained);
            for (auto& group : optimizer_->param_groups()) group.options().set_lr(options.learning_rate);
            optimizer_->step();
        }
        discard();
        return report;
    }

    template <class Archive>
    void visit(Archive& a) {
        std::vector<std::uint8_t> bytes = torch_state(*net_, optimizer_.get());
        const std::vector<std::uint8_t> present = bytes;
        a("torch", bytes);
        if (bytes == present) return;
        restore_torch_state(*net_, bytes, device_, name_, [&](bool needed) {
            if (needed) begin_optimizer(trainable());
            if (!needed) optimizer_.reset();
            return optimizer_.get();
        });
    }

    void discard() {
        const torch::NoGradGuard no_grad;
        for (const torch::Tensor& p : trainable())
            if (p.grad().defined()) p.grad().zero_();
    }

    /// Errors: option_error for a parameter that is not dense, single precision and in host memory.
    std::span<const parameter> parameters() {
        const torch::NoGradGuard no_grad;
        blocks_.clear();
        for (const auto& [name, p] : named_trainable()) {
            if (!p.device().is_cpu() || p.scalar_type() != torch::kFloat || !p.is_contiguous())
                fail(error_kind::option, name_, "parameters(), " + name, "contiguous float in host memory",
                     std::string(c10::toString(p.scalar_type())) + " on " + p.device().str());
            if (!p.grad().defined() || !p.grad().is_contiguous()) {
                torch::Tensor& gradient = p.mutable_grad();
                gradient = gradient.defined() ? gradient.contiguous() : torch::zeros_like(p);
            }
            parameter block{name, {}, {}, {}};
            for (const std::int64_t n : p.sizes()) block.shape.push_back(static_cast<std::size_t>(n));
            const auto n = static_cast<std::size_t>(p.numel());
            block.values = std::span(p.template data_ptr<float>(), n);
            block.gradients = std::span(p.mutable_grad().template data_ptr<float>(), n);
            blocks_.push_back(std::move(block));
        }
        return blocks_;
    }

    /// Parameters and buffers of its own; nothing of the optimiser.
    std::shared_ptr<Net> clone_net() const {
        auto copy = std::dynamic_pointer_cast<Net>(net_->clone(device_));
        const std::vector<torch::Tensor> from = net_->parameters(), to = copy->parameters();
        for (std::size_t i = 0; i < from.size(); ++i) to[i].set_requires_grad(from[i].requires_grad());
        return copy;
    }

private:
    void begin_optimizer(const std::vector<torch::Tensor>& trained) {
        if (optimizer_) return;
        optimizer_ = factory_ ? factory_(trained)
                              : std::make_unique<torch::optim::AdamW>(
                                    trained, torch::optim::AdamWOptions().weight_decay(weight_decay_));
    }
    template <class F>
    torch::Tensor guarded(const char* function, const torch_rows& rows, bool train, F&& f) {
        net_->train(train);
        const torch_without_cudnn guard(!train && device_.is_cuda() && torch::GradMode::is_enabled());
        try {
            return f();
        } catch (const c10::OutOfMemoryError&) {
            throw;
        } catch (const c10::Error& error) {
            const std::string text = error.what_without_backtrace();
            fail(error_kind::shape, name_, function,
                 "to accept int64 tokens " + torch_shape(rows.tokens) + " between 0 and " +
                     std::to_string(rows.tokens.max().item<std::int64_t>()),
                 "torch's error: " + text.substr(0, text.find('\n')));
        }
    }

    /// Parameters that require a gradient; tied ones once.
    std::vector<std::pair<std::string, torch::Tensor>> named_trainable() const {
        std::vector<std::pair<std::string, torch::Tensor>> some;
        std::unordered_set<const void*> seen;
        for (const auto& item : net_->named_parameters())
            if (item.value().requires_grad() && seen.insert(item.value().unsafeGetTensorImpl()).second)
                some.emplace_back(item.key(), item.value());
        return some;
    }
    std::vector<torch::Tensor> trainable() const {
        std::vector<torch::Tensor> some;
        for (const auto& item : named_trainable()) some.push_back(item.second);
        return some;
    }

    std::shared_ptr<Net> net_;
    const char* name_;
    torch::Device device_ = torch::kCPU;
    torch_optimizer_factory factory_;
    double weight_decay_;
    std::unique_ptr<torch::optim::Optimizer> optimizer_;
    std::vector<parameter> blocks_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
