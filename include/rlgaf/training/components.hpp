#pragma once
#include "rlgaf/core/component.hpp"

/// Components that tell a trainer where things come from, and those made of a callable of your own.
namespace rlgaf::inline RLGAF_ABI {

/// Nothing to imitate: the discriminator is a true_reward, or a reward model that does not learn.
struct no_experts_type {};
inline constexpr no_experts_type no_experts{};

namespace detail {

template <class Policy>
struct reference_component {
    using role = role::reference;
    Policy* policy;
};
template <class Batch>
struct held_out_component {
    using role = role::held_out;
    Batch batch;
};
template <class Source>
struct prompt_component {
    using role = role::prompt_source;
    Source* source;
};
template <class Batch>
struct fixed_rows_component {
    using role = role::score_reference;
    Batch batch;
};

}  // namespace detail

/// Component: the policy that KL is measured against. Without it the trainer keeps a clone of the policy as it was at
/// first.
template <class Policy>
auto frozen_reference(Policy& policy) {
    return detail::reference_component<Policy>{&policy};
}
/// Component: demonstrations that the discriminator never trains on, to measure how much of its accuracy is memory.
template <class Batch>
auto held_out_experts(Batch demonstrations) {
    return detail::held_out_component<Batch>{static_cast<Batch&&>(demonstrations)};
}
/// Component: where prompts come from: `source.sample(n, key) -> prompts`.
template <class Source>
auto prompts_from(Source& source) {
    return detail::prompt_component<Source>{&source};
}

/// Component: rows that the discriminator scores every round; stages that read fixed_score see its scale move.
template <class Batch>
auto fixed_rows(Batch batch) {
    return detail::fixed_rows_component<Batch>{static_cast<Batch&&>(batch)};
}

namespace detail {

template <class Role, class F>
struct callable_component {
    using role = Role;
    F function;
    void check() const {}
    template <class... Args>
        requires std::is_invocable_v<const F&, Args...>
    decltype(auto) operator()(Args&&... args) const { return function(std::forward<Args>(args)...); }
};

}  // namespace detail

/// An advantage estimator of your own: `advantage_stats (const advantage_terms<T>&, workspace&, const
/// ragged_view<T>&)`.
template <class F>
auto as_advantage(F function) {
    return detail::callable_component<role::advantage, F>{static_cast<F&&>(function)};
}
/// A policy loss of your own: `policy_loss_stats (const policy_terms<T>&, std::span<const double>, const
/// ragged_view<T>&)`.
template <class F>
auto as_policy_loss(F function) {
    return detail::callable_component<role::policy_loss, F>{static_cast<F&&>(function)};
}
/// A discriminator loss of your own: `discriminator_loss_stats (const discriminator_terms<T>&, std::span<T>,
/// std::span<T>)`.
template <class F>
auto as_discriminator_loss(F function) {
    return detail::callable_component<role::discriminator_loss, F>{static_cast<F&&>(function)};
}

}  // namespace rlgaf::inline RLGAF_ABI
