#pragma once
#include <initializer_list>
#include <utility>

#include "rlgaf/backend/optimizer.hpp"
#include "rlgaf/backend/visit.hpp"
#include "rlgaf/models/lstm/parameter_memory.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Errors: option_error for a size of 0, with its field.
inline void check_sizes(const char* owner, std::initializer_list<std::pair<const char*, std::size_t>> sizes) {
    for (const auto& [field, n] : sizes) check_option(n >= 1, owner, field, "at least 1", static_cast<double>(n));
}

/// What the bundled neural models have in common: options, parameters in one allocation, and the AdamW that trains them.
template <class T, class Options>
class adamw_model {
public:
    using scalar = T;

    step_report step(const step_options& o) { return options_.optimizer(optimizer_state_, memory_.blocks(), o); }
    void discard() { memory_.clear_gradients(); }
    std::span<const parameter_block<T>> parameters() { return memory_.blocks(); }
    adamw::state<T>& optimizer_state() { return optimizer_state_; }
    const Options& options() const { return options_; }
    /// Parameters and the optimiser's memory.
    template <class Archive>
    void visit(Archive& a) {
        visit_parameters(a, *this);
        optimizer_state_.visit(a);
    }

protected:
    /// Errors: option_error.
    explicit adamw_model(const Options& options) : options_((options.check(), options)) {}

    /// No gradients and an optimiser without memory, as if the parameters were loaded from a file.
    void forget() {
        discard();
        optimizer_state_ = {};
    }
    /// Takes the values of another model's first blocks.
    template <class Other>
    void copy_blocks(const adamw_model<T, Other>& from, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            std::ranges::copy(from.memory_.blocks()[i].values, memory_.blocks()[i].values.begin());
    }

    Options options_;
    lstm::parameter_memory<T> memory_;
    adamw::state<T> optimizer_state_;

private:
    template <class, class>
    friend class adamw_model;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
