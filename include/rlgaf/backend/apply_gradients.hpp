#pragma once
#include <cmath>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/core/finite.hpp"

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

}  // namespace rlgaf::inline RLGAF_ABI
