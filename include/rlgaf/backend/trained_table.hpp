#pragma once
#include <vector>

#include "rlgaf/backend/adamw.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// One array of parameters with its gradient and its optimiser: a base class for small models of your own.
/// It provides scalar, value, gradient, parameters(), step() and discard().
template <class T, class Optimizer = adamw>
class trained_table {
public:
    using scalar = T;

    /// All zero. `shape` in the order of the memory, row-major.
    explicit trained_table(std::vector<std::size_t> shape, Optimizer optimizer = {})
        : optimizer_(optimizer), shape_(static_cast<std::vector<std::size_t>&&>(shape)) {
        std::size_t size = 1;
        for (const std::size_t n : shape_) size *= n;
        value.resize(size);
        gradient.resize(size);
    }
    std::vector<T> value, gradient;

    /// Row i of the table: all but its first extent.
    std::span<T> row(std::size_t i) {
        return std::span(value).subspan(i * value.size() / shape_[0], value.size() / shape_[0]);
    }
    std::span<T> gradient_row(std::size_t i) {
        return std::span(gradient).subspan(i * value.size() / shape_[0], value.size() / shape_[0]);
    }

    std::vector<parameter_block<T>> parameters() { return {{"table", shape_, value, gradient}}; }
    step_report step(const step_options& options) {
        const std::vector<parameter_block<T>> blocks = parameters();
        return optimizer_(memory_, std::span<const parameter_block<T>>(blocks), options);
    }
    void discard() { gradient.assign(gradient.size(), T{0}); }
    template <class Archive>
    void visit(Archive& a) {
        a("table", std::span<T>(value));
        memory_.visit(a);
    }

private:
    Optimizer optimizer_;
    typename Optimizer::template state<T> memory_;
    std::vector<std::size_t> shape_;
};

}  // namespace rlgaf::inline RLGAF_ABI
