#pragma once
#include <concepts>
#include <type_traits>
#include <utility>
#include <vector>

#include "rlgaf/core/config.hpp"

/// A component is a plain aggregate of its options with one call operator. `using role = role::...;` says what it is
/// for; a nested `struct state` says that it remembers something from step to step.
namespace rlgaf::inline RLGAF_ABI {

namespace role {
struct advantage {};                  ///< rewards to advantages
struct policy_loss {};                ///< advantages and log-probs to d_log_prob
struct policy_regularizer {};         ///< adds to the policy's loss: KL to a reference, entropy
struct token_factor {};               ///< weighs or drops tokens of the policy loss: importance weights, selections
struct row_choice {};                 ///< which rows of a round the policy trains on
struct discriminator_loss {};         ///< expert and policy scores to d_score
struct discriminator_regularizer {};  ///< adds to the discriminator's loss, from the same scores
struct input_penalty {};              ///< adds to the discriminator's loss, from how scores change with inputs
struct weight_constraint {};          ///< acts on the discriminator's parameters around its step
struct input_noise {};                ///< moves or replaces what the discriminator is trained on
struct reward {};                     ///< scores to rewards: the pipeline or one of its stages
struct credit {};                     ///< what the discriminator expects after each token
struct probe {};                      ///< measures what a poor discriminator would find out
struct gate {};                       ///< who trains this round
struct reference {};                  ///< the policy that KL is measured against
struct held_out {};                   ///< demonstrations that the discriminator never trains on
struct score_reference {};            ///< rows that the discriminator scores every round, to see its scale move
struct prompt_source {};              ///< what the policy is asked
struct critic {};                     ///< learns what rows are worth from here on
}  // namespace role

template <class C>
concept component = requires {
    typename C::role;
};

template <class C, class Role>
concept component_of = component<C> && std::same_as<typename C::role, Role>;

/// Whether the component has memory. Its call operator then takes `state&` first.
template <class C>
concept stateful = requires {
    typename C::state;
};

struct no_state {
    template <class Archive>
    void visit(Archive&) {}
};

namespace detail {
template <class C>
struct state_of {
    using type = no_state;
};
template <stateful C>
struct state_of<C> {
    using type = typename C::state;
};
}  // namespace detail

template <class C>
using state_of = typename detail::state_of<C>::type;

/// Calls a component with or without memory in the same way.
template <class C, class... Args>
decltype(auto) call(const C& c, state_of<C>& state, Args&&... args) {
    if constexpr (stateful<C>)
        return c(state, std::forward<Args>(args)...);
    else
        return c(std::forward<Args>(args)...);
}

namespace detail {
/// Whether the component, with its state first if it has one, can be called so.
template <class C, class... Args>
constexpr bool takes() {
    if constexpr (stateful<C>)
        return std::is_invocable_v<const C&, typename C::state&, Args...>;
    else
        return std::is_invocable_v<const C&, Args...>;
}
}  // namespace detail

/// Visits the fields of a state in a fixed order: `archive(name, x)`, x a number, a std::vector of numbers or a std::span of
/// numbers, which keeps its size. The floors define no archive; a checkpoint's writer and reader are in io/checkpoint.hpp.
template <class A>
concept archive = requires(A& a, double& x) {
    a("name", x);
};

/// Scratch memory that components may use freely within one call. Grows to what the largest step needs and stays there.
struct workspace {
    std::vector<double> a, b, c, d, e;
    std::vector<std::size_t> index;
};

}  // namespace rlgaf::inline RLGAF_ABI
