#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/core/finite.hpp"

/// Optimisers on flat blocks, for backends that have none. A step consumes the gradients: they are zero afterwards.
/// A gradient norm that is not finite leaves values and memory untouched, and says so in the report.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {

template <class T>
double gradient_norm(std::span<const parameter_block<T>> blocks) noexcept {
    double squares = 0;
    for (const auto& block : blocks)
        for (const T g : block.gradients) squares += static_cast<double>(g) * static_cast<double>(g);
    return std::sqrt(squares);
}

/// Calls update(block number, element number, value&, clipped gradient) for every element, unless the norm is not
/// finite.
template <class T, class Begin, class Update>
step_report apply_gradients(std::span<const parameter_block<T>> blocks, const step_options& options, Begin&& begin,
                            Update&& update) {
    options.check();
    const double norm = gradient_norm(blocks);
    step_report report{norm, first_nonfinite(std::span<const double>(&norm, 1)) == 1};
    if (report.applied) {
        begin();
        const double scale = options.max_norm > 0 && norm > options.max_norm ? options.max_norm / norm : 1;
        std::size_t offset = 0;
        for (const auto& block : blocks) {
            update(offset, block, static_cast<T>(scale));
            offset += block.values.size();
        }
    }
    for (const auto& block : blocks)
        for (T& g : block.gradients) g = 0;
    return report;
}

template <class T>
std::size_t parameter_count(std::span<const parameter_block<T>> blocks) noexcept {
    std::size_t n = 0;
    for (const auto& block : blocks) n += block.values.size();
    return n;
}

}  // namespace detail

/// Gradient descent with momentum.
/// Formula: v = momentum v + g;  x -= learning_rate v.
struct sgd {
    double momentum = 0;  ///< in [0, 1)

    template <class T>
    struct state {
        std::vector<T> velocity;
        template <class Archive>
        void visit(Archive& a) {
            a("velocity", velocity);
        }
    };
    void check() const {
        detail::check_option(momentum >= 0 && momentum < 1, "sgd", "momentum", "in [0, 1)", momentum);
    }

    template <class T>
    step_report operator()(state<T>& s, std::span<const parameter_block<T>> blocks, const step_options& options) const {
        check();
        s.velocity.resize(detail::parameter_count(blocks), T{0});
        const T keep = static_cast<T>(momentum), rate = static_cast<T>(options.learning_rate);
        return detail::apply_gradients(
            blocks, options, [] {},
            [&](std::size_t offset, const parameter_block<T>& block, T scale) {
                T* v = s.velocity.data() + offset;
                for (std::size_t i = 0; i < block.values.size(); ++i) {
                    v[i] = keep * v[i] + scale * block.gradients[i];
                    block.values[i] -= rate * v[i];
                }
            });
    }
};

/// Adam with decoupled weight decay.
/// Formula: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
///          x -= rate (mhat / (sqrt(vhat) + epsilon) + weight_decay x),  mhat = m / (1 - b1^k), vhat = v / (1 - b2^k).
/// Source:  Kingma and Ba 2014, arXiv 1412.6980; Loshchilov and Hutter 2017, arXiv 1711.05101.
struct adamw {
    double beta1 = 0.9;       ///< in [0, 1)
    double beta2 = 0.999;     ///< in [0, 1)
    double epsilon = 1e-8;    ///< > 0, outside the root
    double weight_decay = 0;  ///< >= 0, times the learning rate

    template <class T>
    struct state {
        std::vector<T> first, second;
        std::uint64_t steps = 0;  ///< applied ones
        template <class Archive>
        void visit(Archive& a) {
            a("first", first), a("second", second), a("steps", steps);
        }
    };
    void check() const {
        detail::check_option(beta1 >= 0 && beta1 < 1, "adamw", "beta1", "in [0, 1)", beta1);
        detail::check_option(beta2 >= 0 && beta2 < 1, "adamw", "beta2", "in [0, 1)", beta2);
        detail::check_option(epsilon > 0, "adamw", "epsilon", "positive", epsilon);
        detail::check_option(weight_decay >= 0, "adamw", "weight_decay", "0 or positive", weight_decay);
    }

    template <class T>
    step_report operator()(state<T>& s, std::span<const parameter_block<T>> blocks, const step_options& options) const {
        check();
        const std::size_t n = detail::parameter_count(blocks);
        s.first.resize(n, T{0});
        s.second.resize(n, T{0});
        const T b1 = static_cast<T>(beta1), b2 = static_cast<T>(beta2), eps = static_cast<T>(epsilon);
        T rate = 0, root = 0, keep = 1;
        return detail::apply_gradients(
            blocks, options,
            [&] {
                const double k = static_cast<double>(++s.steps);
                rate = static_cast<T>(options.learning_rate / (1 - std::pow(beta1, k)));
                root = static_cast<T>(1 / std::sqrt(1 - std::pow(beta2, k)));
                keep = static_cast<T>(1 - options.learning_rate * weight_decay);
            },
            [&](std::size_t offset, const parameter_block<T>& block, T scale) {
                T* const m = s.first.data() + offset;
                T* const v = s.second.data() + offset;
                T* const x = block.values.data();
                const T* const gradient = block.gradients.data();
                const std::size_t size = block.values.size();
                for (std::size_t i = 0; i < size; ++i) {
                    const T g = scale * gradient[i];
                    m[i] = b1 * m[i] + (1 - b1) * g;
                    v[i] = b2 * v[i] + (1 - b2) * g * g;
                    x[i] = keep * x[i] - rate * m[i] / (std::sqrt(v[i]) * root + eps);
                }
            });
    }
};

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
