#pragma once
#include "rlgaf/backend/abilities.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Parameters of one kind with their gradient.
template <class T>
struct owned_block {
    std::vector<std::size_t> shape;
    std::vector<T> values, gradients;

    explicit owned_block(std::vector<std::size_t> size, double fill = 0) : shape(std::move(size)) {
        std::size_t n = 1;
        for (const std::size_t s : shape) n *= s;
        values.assign(n, static_cast<T>(fill));
        gradients.assign(n, T{0});
    }
    void randomize(double spread, std::uint64_t seed, std::uint64_t which) {
        const random_stream random({seed, 0}, stream::initialization, which);
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = static_cast<T>(spread * random.normal(static_cast<std::uint32_t>(i)));
    }
    double operator[](std::size_t i) const { return static_cast<double>(values[i]); }
    void add(std::size_t i, double gradient) { gradients[i] += static_cast<T>(gradient); }
    void discard() { gradients.assign(gradients.size(), T{0}); }
    parameter_block<T> block(const char* name) { return {name, shape, values, gradients}; }
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
