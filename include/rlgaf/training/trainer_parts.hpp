#pragma once
#include <tuple>
#include <utility>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/training/describe_round.hpp"
#include "rlgaf/training/discriminator_parts.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/score.hpp"
#include "rlgaf/training/update_policy.hpp"

/// How the trainer finds its components, and the sentences for what it cannot work with.
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

template <class Role, class... C>
constexpr std::size_t count_role = (std::size_t{component_of<C, Role>} + ... + 0);
template <class Role, class... C>
constexpr bool has_role = count_role<Role, C...> > 0;

struct no_component {};

/// What a trainer keeps for a role, in case that it was given no component for it.
template <class Role, class Default, class... C>
struct default_part : part<Default> {
    default_part() : part<Default>(Default{}) {}
};
template <class Role, class Default, class... C>
    requires has_role<Role, C...>
struct default_part<Role, Default, C...> {
};

/// The part of that role, or the given default.
template <class Role, class Default, class... C>
auto& find_part(std::tuple<part<C>...>& parts, Default& fallback) {
    if constexpr (has_role<Role, C...>) {
        constexpr std::size_t index = [] {
            const bool match[] = {component_of<C, Role>...};
            std::size_t i = 0;
            while (!match[i]) ++i;
            return i;
        }();
        return std::get<index>(parts);
    } else {
        return fallback;
    }
}
template <class Role, class... C>
auto parts_of_role(std::tuple<part<C>...>& parts) {
    return std::apply(
        [](auto&... p) {
            return std::tuple_cat([](auto& one) {
                if constexpr (component_of<std::remove_reference_t<decltype(one.component)>, Role>)
                    return std::tie(one);
                else
                    return std::tuple<>();
            }(p)...);
        },
        parts);
}

template <class P, bool Needed>
struct clone_of {
    using type = P;
};
template <class P>
struct clone_of<P, false> {
    using type = no_component;
};
template <class P, bool Needed>
using clone_type = typename clone_of<P, Needed>::type;

template <class P, class S>
constexpr bool same_scalar() {
    if constexpr (is_true_reward<std::remove_const_t<S>>)
        return true;
    else
        return std::is_same_v<typename P::scalar, typename S::scalar>;
}

template <class A>
std::size_t group_size_of(const A& advantage) {
    if constexpr (requires { advantage.group_size; })
        return advantage.group_size;
    else
        return 1;
}

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

/// Whether the discriminator of a trainer never learns.
template <class S, class E>
constexpr bool only_scores =
    is_true_reward<std::remove_const_t<S>> || std::is_same_v<std::remove_const_t<E>, no_experts_type>;

/// What a trainer is made of. Nothing of it can be used if its parts do not fit: the sentence that says why is then the
/// only error.
template <bool Valid, class Defaults, class P, class S, class E, class... C>
class adversarial_loop {
public:
    template <class... Args>
    explicit adversarial_loop(Args&&...) {}
    template <class Options = run_info, class... Observers>
    round_report run(const Options&, Observers&&...) {
        return {};
    }
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
