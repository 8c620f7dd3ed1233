#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/backend/apply_gradients.hpp"

namespace rlgaf::inline RLGAF_ABI {

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

}  // namespace rlgaf::inline RLGAF_ABI
