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
    std::size_t width = 1;                ///< numbers a row in score and expert_score, row after row
    std::span<const T> expert_score{};    ///< [B] of each row's demonstration, for stages with needs_expert_score
    std::span<const T> fixed_score{};     ///< of rows that stay the same, for stages with needs_fixed_score
    ragged_view<const T> token_score{};   ///< [B, length] of a discriminator of tokens
    ragged_view<const T> prefix_value{};  ///< [B, length] expected score after each token, from rollouts
    ragged_view<const T> token_weight{};  ///< [B, length] what each token has to do with the row's score
};

/// Whether a component reads reference_log_prob.
template <class C>
constexpr bool needs_reference() {
    if constexpr (requires { C::needs_reference; })
        return C::needs_reference;
    else
        return false;
}

/// Whether a component reads expert_score.
template <class C>
constexpr bool needs_expert_score() {
    if constexpr (requires { C::needs_expert_score; })
        return C::needs_expert_score;
    else
        return false;
}
/// Whether a component reads fixed_score.
template <class C>
constexpr bool needs_fixed_score() {
    if constexpr (requires { C::needs_fixed_score; })
        return C::needs_fixed_score;
    else
        return false;
}
/// Whether a component reads token_weight.
template <class C>
constexpr bool needs_token_weight() {
    if constexpr (requires { C::needs_token_weight; })
        return C::needs_token_weight;
    else
        return false;
}

}  // namespace rlgaf::inline RLGAF_ABI
