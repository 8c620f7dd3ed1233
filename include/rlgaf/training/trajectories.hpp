#pragma once
#include <vector>

#include "rlgaf/backend/policy.hpp"
#include "rlgaf/math/rewards.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A component together with its memory: `part advantage{grpo{.group_size = 8}};`
template <component C>
struct part {
    C component;
    state_of<C> memory{};

    explicit part(C c) : component(static_cast<C&&>(c)) {}
    template <class... Args>
    decltype(auto) operator()(Args&&... args) {
        return call(component, memory, std::forward<Args>(args)...);
    }
};

/// What one round's samples carry from role to role. Reuse one object from round to round: it keeps its memory.
template <policy_backend P>
struct trajectories {
    using scalar = typename P::scalar;

    typename P::batch batch;
    std::vector<std::uint32_t> group_id;  ///< [B] which prompt a row answers
    std::size_t group_count = 0;
    std::vector<std::uint8_t> truncated;       ///< [B]
    ragged_buffer<scalar> old_log_prob;        ///< [B, length] of the policy before this round's update
    ragged_buffer<scalar> reference_log_prob;  ///< [B, length] if evaluate_reference was called
    ragged_buffer<scalar> token_factor;        ///< [B, length] if old log-probs were evaluated anew
    ragged_buffer<scalar> value;               ///< [B, length] of a critic, if evaluate_values was called
    ragged_buffer<scalar> returns;             ///< [B, length] what the critic should have said, after update_policy
    std::vector<double> greedy_reward;         ///< [B] if greedy_baseline was called
    ragged_buffer<scalar> score_norm;          ///< [B, length] if evaluate_score_norms was called
    bool has_reference = false, has_token_factor = false, has_value = false, has_score_norm = false;
    std::size_t width = 1;               ///< numbers a row in score
    std::vector<scalar> score;           ///< [B, width] raw output of the discriminator
    std::vector<scalar> expert_score;    ///< [B, width] of each row's demonstration, if score_experts was called
    std::vector<scalar> fixed_score;     ///< of rows that stay the same, if score_fixed was called
    ragged_buffer<scalar> token_score;   ///< [B, length] if score_tokens was called
    ragged_buffer<scalar> prefix_value;  ///< [B, length] if roll_out_values was called
    ragged_buffer<scalar> token_weight;  ///< [B, length] if attribute_tokens was called
    bool has_token_score = false, has_prefix_value = false, has_token_weight = false;
    rewards<scalar> reward;

    workspace work;
    std::vector<std::size_t> pick;

    groups group() const { return {detail::span_of(group_id), group_count}; }
    ragged_view<const scalar> reference_view() const {
        return has_reference ? reference_log_prob.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> value_view() const { return has_value ? value.view() : ragged_view<const scalar>{}; }
    /// What advantage estimators read of the round.
    advantage_terms<scalar> earned() {
        return {.reward = reward.view(),
                .group = group(),
                .mask = mask_of(batch),
                .value = value_view(),
                .log_prob = std::as_const(old_log_prob).view(),
                .behaviour_log_prob = behaviour_log_prob(batch),
                .score_norm = has_score_norm ? std::as_const(score_norm).view() : ragged_view<const scalar>{},
                .greedy_reward = greedy_reward};
    }
    ragged_view<const scalar> token_score_view() const {
        return has_token_score ? token_score.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> prefix_value_view() const {
        return has_prefix_value ? prefix_value.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> token_weight_view() const {
        return has_token_weight ? token_weight.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> factor_view() const {
        return has_token_factor ? token_factor.view() : ragged_view<const scalar>{};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
