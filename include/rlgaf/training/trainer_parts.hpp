#pragma once
#include <tuple>
#include <utility>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/training/components.hpp"
#include "rlgaf/training/describe_round.hpp"
#include "rlgaf/training/discriminator_parts.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/score.hpp"
#include "rlgaf/training/update_policy.hpp"

/// How a trainer finds its components.
namespace rlgaf::inline RLGAF_ABI::detail {

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

}  // namespace rlgaf::inline RLGAF_ABI::detail
