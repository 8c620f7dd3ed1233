#pragma once
#include "rlgaf/models/lstm/through_time.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Numbers that are linear in a state: of a scorer, or of a critic.
template <class T>
struct linear_head {
    static constexpr std::size_t weight_block = first_head_block, bias_block = first_head_block + 1;

    const T *weight, *bias;  ///< [units, outputs], [outputs]
    std::size_t units = 0, outputs = 1;

    static linear_head of(const parameter_memory<T>& memory, std::size_t units, std::size_t outputs = 1) {
        return {memory.values(weight_block), memory.values(bias_block), units, outputs};
    }
    T operator()(const T* state, std::size_t k = 0) const {
        double total = static_cast<double>(bias[k]);
        for (std::size_t j = 0; j < units; ++j)
            total += static_cast<double>(state[j]) * static_cast<double>(weight[j * outputs + k]);
        return static_cast<T>(total);
    }
};

/// write(wanted, number) for every wanted state of a shard. `factor`: what units of a row are multiplied with
/// (dropout), [hidden, rows], or null. The head has one output.
template <class T, class Write>
void forward_numbers(const packed_body<T>& body, const linear_head<T>& head, const T* factor, shard<T>& s, bool keep,
                     Write&& write) {
    const std::size_t hidden = body.hidden();
    T* const kept = s.gathered.need(hidden);
    forward(body, s, keep, [&](std::size_t level, const level_states<T>& now) {
        s.tree.for_each_wanted(level, [&](std::uint32_t node, std::span<const wanted> wants) {
            const T* const h = now.h(node);
            T shared = factor ? T{0} : head(h);
            for (const wanted& at : wants) {
                if (factor) {
                    for (std::size_t j = 0; j < head.units; ++j) kept[j] = h[j] * factor[at.row * hidden + j];
                    shared = head(kept);
                }
                write(at, shared);
            }
        });
    });
}

/// Leaves the gradient of the head's weights in s.d_output and returns that of its bias. cotangent(wanted) is a double.
template <class T, class Cotangent>
double backward_numbers(const packed_body<T>& body, const linear_head<T>& head, const T* factor, shard<T>& s,
                        Cotangent&& cotangent) {
    const std::size_t hidden = body.hidden();
    T* const d_head = s.d_output.zeroed(hidden);
    T* const weight = s.weights.zeroed(hidden);
    std::copy_n(head.weight, head.units, weight);
    double d_bias = 0;
    backward(body, s, [&](std::size_t level, const level_states<T>& now, T* d_h) {
        s.tree.for_each_wanted(level, [&](std::uint32_t node, std::span<const wanted> wants) {
            const T* const h = now.h(node);
            T* const to = d_h + s.tree.place(level, node) * hidden;
            double shared = 0;
            for (const wanted& at : wants) {
                const double d = cotangent(at);
                shared += d;
                if (!factor) continue;
                const T* const of_row = factor + at.row * hidden;
                for (std::size_t j = 0; j < head.units; ++j) {
                    const T kept = static_cast<T>(d) * of_row[j];
                    to[j] += kept * weight[j];
                    d_head[j] += kept * h[j];
                }
            }
            d_bias += shared;
            if (factor) return;
            add_scaled(hidden, static_cast<T>(shared), weight, to);
            add_scaled(hidden, static_cast<T>(shared), h, d_head);
        });
    });
    return d_bias;
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
