#pragma once
#include <type_traits>
#include <variant>

#include "rlgaf/backend/optimizer.hpp"
#include "rlgaf/backend/visit.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How a bundled model descends; chosen when the program runs.
using optimizer_choice = std::variant<adamw, sgd>;

/// The optimiser of one model with its memory.
template <class T>
class chosen_optimizer {
public:
    /// Errors: option_error.
    explicit chosen_optimizer(optimizer_choice choice = adamw{}) : choice_(choice) {
        std::visit([](const auto& o) { o.check(); }, choice_);
    }
    step_report step(std::span<const parameter_block<T>> blocks, const step_options& options) {
        if (const adamw* const o = std::get_if<adamw>(&choice_)) return (*o)(adamw_, blocks, options);
        return std::get<sgd>(choice_)(sgd_, blocks, options);
    }
    /// As before the first step.
    void forget() {
        adamw_ = {};
        sgd_ = {};
    }
    template <class Archive>
    void visit(Archive& a) {
        std::holds_alternative<adamw>(choice_) ? adamw_.visit(a) : sgd_.visit(a);
    }

private:
    optimizer_choice choice_;
    adamw::state<T> adamw_{};
    sgd::state<T> sgd_{};
};

}  // namespace rlgaf::inline RLGAF_ABI
