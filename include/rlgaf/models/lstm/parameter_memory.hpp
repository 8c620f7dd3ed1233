#pragma once
#include <algorithm>
#include <string>
#include <utility>

#include "rlgaf/backend/abilities.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Named blocks in one allocation. Copies refer to their own memory.
template <class T>
class parameter_memory {
public:
    parameter_memory() = default;
    parameter_memory(const parameter_memory& other)
        : values_(other.values_), gradients_(other.gradients_), blocks_(other.blocks_) {
        refer();
    }
    parameter_memory& operator=(const parameter_memory& other) {
        if (this != &other) *this = parameter_memory(other);
        return *this;
    }
    parameter_memory(parameter_memory&&) noexcept = default;
    parameter_memory& operator=(parameter_memory&&) noexcept = default;
    ~parameter_memory() = default;

    void add(std::string name, std::vector<std::size_t> shape) {
        std::size_t size = 1;
        for (const std::size_t n : shape) size *= n;
        values_.resize(values_.size() + size, T{0});
        gradients_.resize(values_.size(), T{0});
        blocks_.push_back({std::move(name), std::move(shape), {}, {}});
        refer();
    }
    std::span<const parameter_block<T>> blocks() const { return blocks_; }
    const T* values(std::size_t block) const { return blocks_[block].values.data(); }
    T* gradients(std::size_t block) { return blocks_[block].gradients.data(); }
    void clear_gradients() { std::fill(gradients_.begin(), gradients_.end(), T{0}); }

    /// Uniform in [-limit, limit], a function of seed, block and element.
    void randomize(std::size_t block, double limit, std::uint64_t seed) {
        const random_stream random({seed, 0}, stream::initialization, block);
        const auto x = blocks_[block].values;
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = static_cast<T>(limit * (2 * random.uniform(static_cast<std::uint32_t>(i & 0xFFFFFFu),
                                                              static_cast<std::uint32_t>(i >> 24)) -
                                           1));
    }

private:
    void refer() {
        std::size_t first = 0;
        for (auto& block : blocks_) {
            std::size_t size = 1;
            for (const std::size_t n : block.shape) size *= n;
            block.values = std::span(values_).subspan(first, size);
            block.gradients = std::span(gradients_).subspan(first, size);
            first += size;
        }
    }

    std::vector<T> values_, gradients_;
    std::vector<parameter_block<T>> blocks_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
