#pragma once
#include "rlgaf/training/trainer_parts.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// The sentences for components of which a trainer takes one.
template <class... C>
consteval bool check_counts() {
    constexpr bool advantage = count_role<role::advantage, C...> <= 1, loss = count_role<role::policy_loss, C...> <= 1,
                   reward = count_role<role::reward, C...> <= 1,
                   discriminator = count_role<role::discriminator_loss, C...> <= 1,
                   gate = count_role<role::gate, C...> <= 1, reference_once = count_role<role::reference, C...> <= 1,
                   held_out = count_role<role::held_out, C...> <= 1,
                   fixed = count_role<role::score_reference, C...> <= 1,
                   noise = count_role<role::input_noise, C...> <= 1, credit = count_role<role::credit, C...> <= 1,
                   probe = count_role<role::probe, C...> <= 1, prompts = count_role<role::prompt_source, C...> <= 1,
                   critic = count_role<role::critic, C...> <= 1, choice = count_role<role::row_choice, C...> <= 1;
    static_assert(advantage, "rlgaf: a trainer was given two advantage estimators; it takes one");
    static_assert(loss, "rlgaf: a trainer was given two policy losses; it takes one");
    static_assert(reward, "rlgaf: a trainer was given two rewards; put stages into one pipeline{...}");
    static_assert(discriminator, "rlgaf: a trainer was given two discriminator losses; it takes one");
    static_assert(gate, "rlgaf: a trainer was given two gates; it takes one");
    static_assert(reference_once, "rlgaf: a trainer was given two frozen references; it takes one");
    static_assert(held_out, "rlgaf: a trainer was given two sets of held-out experts; it takes one");
    static_assert(prompts, "rlgaf: a trainer was given two sources of prompts; it takes one");
    static_assert(fixed, "rlgaf: a trainer was given two sets of fixed rows; it takes one");
    static_assert(noise, "rlgaf: a trainer was given two kinds of noise; it takes one");
    static_assert(credit, "rlgaf: a trainer was given two kinds of rollouts; it takes one");
    static_assert(probe, "rlgaf: a trainer was given two probes; it takes one");
    static_assert(critic, "rlgaf: a trainer was given two critics; it takes one");
    static_assert(choice, "rlgaf: a trainer was given two components that choose its rows; it takes one");
    return advantage && loss && reward && discriminator && gate && reference_once && held_out && fixed && noise &&
           credit && probe && prompts && critic && choice;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
