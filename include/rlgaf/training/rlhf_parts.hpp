#pragma once
#include <tuple>

#include "rlgaf/backend/check.hpp"
#include "rlgaf/backend/critic.hpp"
#include "rlgaf/reward_shaping/adaptive_kl_penalty.hpp"
#include "rlgaf/reward_shaping/kl_step_penalty.hpp"
#include "rlgaf/training/trainer_parts.hpp"

/// What rlhf_trainer can be made of, and the sentences for what it cannot.
namespace rlgaf::inline RLGAF_ABI::detail {

template <class A, class T>
constexpr bool fills_returns() {
    return takes<A, const advantage_terms<T>&, workspace&, const ragged_view<T>&, const ragged_view<T>&>();
}
template <class T, class... C>
constexpr bool advantage_fills_returns() {
    return ((!component_of<C, role::advantage> || fills_returns<C, T>()) && ... && true);
}
template <class C>
constexpr bool rlhf_component =
    component_of<C, role::advantage> || component_of<C, role::policy_loss> ||
    component_of<C, role::policy_regularizer> || component_of<C, role::token_factor> || component_of<C, role::reward> ||
    component_of<C, role::reference> || component_of<C, role::prompt_source>;

/// One sentence for the first thing that does not fit.
template <class P, class S, class C, class... Components>
consteval bool check_rlhf() {
    if constexpr (!check_policy<P>())
        return false;
    else if constexpr (!is_true_reward<std::remove_const_t<S>> && !scorer_backend<S, typename P::batch>)
        return check_scorer<S, typename P::batch>();
    else if constexpr (!critic_backend<C, typename P::batch>)
        return check_critic<C, typename P::batch>();
    else if constexpr (!(same_scalar<P, S>() && same_scalar<P, C>())) {
        static_assert(same_scalar<P, S>() && same_scalar<P, C>(),
                      "rlgaf: policy, reward model and critic must have the same scalar type");
        return false;
    } else if constexpr (!(rlhf_component<Components> && ... && true)) {
        static_assert((rlhf_component<Components> && ... && true),
                      "rlgaf: rlhf_trainer takes an advantage estimator, a policy loss, regularisers, token factors, a "
                      "reward, frozen_reference and prompts_from; wrap a callable of your own in as_reward, "
                      "as_advantage or as_policy_loss");
        return false;
    } else {
        constexpr bool advantage = count_role<role::advantage, Components...> <= 1,
                       loss = count_role<role::policy_loss, Components...> <= 1,
                       reward = count_role<role::reward, Components...> <= 1,
                       reference_once = count_role<role::reference, Components...> <= 1,
                       prompts = count_role<role::prompt_source, Components...> <= 1,
                       returns = advantage_fills_returns<typename P::scalar, Components...>();
        static_assert(advantage, "rlgaf: rlhf_trainer was given two advantage estimators; it takes one");
        static_assert(loss, "rlgaf: rlhf_trainer was given two policy losses; it takes one");
        static_assert(reward, "rlgaf: rlhf_trainer was given two rewards; put stages into one pipeline{...}");
        static_assert(reference_once, "rlgaf: rlhf_trainer was given two frozen references; it takes one");
        static_assert(prompts, "rlgaf: rlhf_trainer was given two sources of prompts; it takes one");
        static_assert(returns,
                      "rlgaf: the advantage estimator of rlhf_trainer must give the critic its targets, as gae does: "
                      "a fourth argument `const rlgaf::ragged_view<T>& returns`");
        constexpr bool reference =
            (has_role<role::reward, Components...> && !(needs_reference<Components>() || ... || false)) ||
            has_role<role::reference, Components...> || clonable<P>;
        static_assert(reference,
                      "rlgaf: a component measures KL to a reference policy; add frozen_reference(policy) or "
                      "give the policy `clone() const`");
        return advantage && loss && reward && reference_once && prompts && returns && reference;
    }
}

/// The coefficient that an adaptive KL penalty inside a reward's memory paid, or null.
template <class State>
const double* find_kl_beta(const State& s) {
    if constexpr (std::is_same_v<State, adaptive_kl_penalty::state> || std::is_same_v<State, kl_step_penalty::state>)
        return &s.beta;
    else if constexpr (requires { std::tuple_size<decltype(s.stage)>::value; })
        return std::apply(
            [](const auto&... stage) {
                const double* found = nullptr;
                ((found = found ? found : find_kl_beta(stage)), ...);
                return found;
            },
            s.stage);
    else
        return nullptr;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
