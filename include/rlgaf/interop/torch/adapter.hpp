#pragma once
#include "rlgaf/backend/check.hpp"
#include "rlgaf/interop/torch/model.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// What the adapters of policies and of scorers have in common.
template <class Module, class Options>
class torch_adapter {
public:
    using net = typename torch_module_of<Module>::type;
    using scalar = float;
    using batch = token_batch<float>;

    net& module() const { return model_.net(); }
    step_report step(const step_options& options) { return model_.step(options); }
    void discard() { model_.discard(); }

    /// Ability flat_parameters: those that require a gradient, named as in the module.
    /// Errors: option_error where they are not float in host memory.
    std::span<const parameter_block<scalar>> parameters() { return model_.parameters(); }

    /// For a checkpoint: module and optimiser in torch's format, on any device. Not torch's random numbers, which dropout uses.
    template <class Archive>
    void visit(Archive& a) {
        model_.visit(a);
    }

protected:
    torch_adapter(std::shared_ptr<net> module, Options options, const char* name)
        : options_(std::move(options)), model_(std::move(module), options_, name) {}
    static std::shared_ptr<net> held(const Module& holder) { return holder.is_empty() ? nullptr : holder.ptr(); }

    /// Prompts and completions, without the last `dropped` tokens of these.
    torch_rows rows_of(const batch& b, std::size_t dropped = 0) const {
        return {
            rows(b), options_.start_token, options_.pad_token,
            [&](std::size_t i) { return rows(b.prompt) > 0 ? b.prompt.row(i) : std::span<const std::int32_t>{}; },
            [&](std::size_t i) { return b.row(i).first(b.length[i] - std::min<std::size_t>(dropped, b.length[i])); }};
    }

    Options options_;
    torch_model<net> model_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
