#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/discriminator/terms.hpp"

/// Penalties on how the score changes with the discriminator's inputs (embeddings, pixels). A penalty is a function phi
/// of the norm n_b of the input gradient of a row's score; `accumulate_penalty` in backend/ turns the slopes that it
/// gives into parameter gradients without a second derivative of the model.
///   penalty_stats operator()(std::span<const double> norm, std::span<double> slope)
/// Shapes: norm, slope [n]. Adds: slope_b += phi'(n_b) / n.
namespace rlgaf::inline RLGAF_ABI {

/// Where input gradients are taken.
enum class penalty_place : std::uint8_t {
    real,        ///< at demonstrations
    fake,        ///< at samples
    between,     ///< at an even share of the way from a sample's demonstration to the sample, one share a row
    around_real  ///< at demonstrations moved by normal noise
};

struct penalty_stats {
    double loss = 0;
    double norm = 0;  ///< mean of the input gradients' norms
};

namespace detail {

/// phi(n) gives value and slope.
struct penalty_of_norm {
    double value = 0, slope = 0;
};
template <class Phi>
penalty_stats penalize_norms(std::span<const double> norm, std::span<double> slope, const char* function, Phi&& phi) {
    check_size(slope.size(), norm.size(), function, "slope");
    penalty_stats stats;
    if (norm.empty()) return stats;
    const double share = 1 / static_cast<double>(norm.size());
    for (std::size_t b = 0; b < norm.size(); ++b) {
        const penalty_of_norm p = phi(norm[b]);
        stats.loss += share * p.value;
        stats.norm += share * norm[b];
        slope[b] += share * p.slope;
    }
    return stats;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
