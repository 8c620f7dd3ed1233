#pragma once
#include <vector>

#include "rlgaf/backend/apply_gradients.hpp"

namespace rlgaf::inline RLGAF_ABI {

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

}  // namespace rlgaf::inline RLGAF_ABI
