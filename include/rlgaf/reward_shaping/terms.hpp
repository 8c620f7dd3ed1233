#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/math/rewards.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What the stages of a pipeline read. All rows of the step. A stage is called as
///   stage(terms, batch, rewards, workspace)   (with its state first, if it has one)
/// and adds an outcome or token rewards, or changes those that earlier stages added.
template <class T>
struct shaping_terms {
    std::span<const T> score;                   ///< [B] raw output of the discriminator
    ragged_view<const T> log_prob;              ///< [B, length] of the policy that sampled
    ragged_view<const T> reference_log_prob{};  ///< [B, length], for stages with needs_reference
    mask_view mask{};                           ///< optional
    std::span<const std::uint8_t> truncated{};  ///< [B]: 1 where the row ran out of length
    groups group;
};

/// Whether a component reads reference_log_prob.
template <class C>
constexpr bool needs_reference() {
    if constexpr (requires { C::needs_reference; })
        return C::needs_reference;
    else
        return false;
}

}  // namespace rlgaf::inline RLGAF_ABI
