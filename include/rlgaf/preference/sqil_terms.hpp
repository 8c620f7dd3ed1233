#pragma once
#include <cstdint>

#include "rlgaf/core/ragged_view.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What SQIL reads: demonstrations and the policy's own rows, [B, length] each.
template <class T>
struct sqil_terms {
    ragged_view<const T> log_prob;         ///< of the tokens
    ragged_view<const T> log_normalizer;   ///< log(sum over the vocabulary of exp(logit)), where each token was chosen
    std::span<const std::uint8_t> expert;  ///< [B]: 1 for a demonstration
    std::span<const std::uint8_t> truncated{};  ///< [B]: 1 where the row ran out of length; none given: no row did
    std::span<const double> bootstrap{};  ///< [B]: V after a truncated row; not given or NaN: its last step is left out
    ragged_view<const T> target_log_normalizer{};  ///< optional: of an older policy, for V of the next state
    mask_view mask{};                              ///< optional
};

/// Means over the steps that count.
struct sqil_stats {
    double loss = 0;
    double expert_reward = 0, policy_reward = 0;  ///< what the policy takes for the rewards: Q - discount V(next) + m
    double expert_steps = 0, policy_steps = 0;    ///< how many
};

}  // namespace rlgaf::inline RLGAF_ABI
