#pragma once
#include <cstdint>
#include <limits>
#include <span>

#include "rlgaf/core/config.hpp"

/// How often the discriminator is right, in the kinds of pairs that trainers have.
namespace rlgaf::inline RLGAF_ABI::detail {

/// Share of pairs (the shorter side repeats) in which the demonstration scores higher; a tie counts
/// half.
template <class T>
double pair_accuracy(std::span<const T> real, std::span<const T> fake) {
    if (real.empty() || fake.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    const std::size_t pairs = real.size() > fake.size() ? real.size() : fake.size();
    for (std::size_t j = 0; j < pairs; ++j) {
        const T r = real[j % real.size()], f = fake[j % fake.size()];
        right += r > f ? 1.0 : r < f ? 0.0 : 0.5;
    }
    return right / static_cast<double>(pairs);
}
template <class T>
double matched_accuracy(std::span<const T> real, std::span<const T> fake, std::span<const std::uint32_t> pairs) {
    if (fake.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    for (std::size_t j = 0; j < fake.size(); ++j)
        right += real[pairs[j]] > fake[j] ? 1.0 : real[pairs[j]] < fake[j] ? 0.0 : 0.5;
    return right / static_cast<double>(fake.size());
}

/// Share of pairs in which a critic of pairs prefers the demonstration to the sample.
template <class T>
double pair_critic_accuracy(std::span<const T> score) {
    if (score.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    for (std::size_t j = 0; j < score.size(); j += 3)
        right += score[j] > score[j + 1] ? 1.0 : score[j] < score[j + 1] ? 0.0 : 0.5;
    return 3 * right / static_cast<double>(score.size());
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
