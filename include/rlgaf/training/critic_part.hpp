#pragma once
#include <tuple>

#include "rlgaf/backend/check.hpp"
#include "rlgaf/training/trainer_parts.hpp"
#include "rlgaf/training/update_critic.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {
template <class C>
struct critic_component {
    using role = role::critic;
    C* critic;
};
}  // namespace detail

/// Component: a critic. Estimators such as gae read its values, and it learns their returns. It is referred to, never
/// copied.
template <class C>
auto with_critic(C& critic) {
    return detail::critic_component<C>{&critic};
}

namespace detail {

template <class C>
constexpr bool is_critic_component = false;
template <class C>
constexpr bool is_critic_component<critic_component<C>> = true;

template <class A>
constexpr bool reads_values = requires {
    A::needs_value;
};
template <class A, class T>
constexpr bool fills_returns() {
    return takes<A, const advantage_terms<T>&, workspace&, const ragged_view<T>&, const ragged_view<T>&>();
}

/// Whether a component that is a critic fits the policy's batches.
template <class P, class C>
constexpr bool critic_fits = true;
template <class P, class C>
constexpr bool critic_fits<P, critic_component<C>> = critic_backend<C, typename P::batch>;
template <class P, class C>
constexpr bool critic_scalar = true;
template <class P, class C>
constexpr bool critic_scalar<P, critic_component<C>> = same_scalar<P, C>();

/// The sentence for a critic that lacks something.
template <class P, class C>
consteval bool check_critic_part() {
    if constexpr (!critic_fits<P, C>)
        return check_critic<std::remove_pointer_t<decltype(C::critic)>, typename P::batch>();
    return true;
}

/// What a trainer does with its critic, if it has one: values before the update, a step towards the returns after it.
template <class P, class... C>
class critic_player {
public:
    static constexpr bool present = has_role<role::critic, C...>;

    void value([[maybe_unused]] std::tuple<part<C>...>& parts, [[maybe_unused]] trajectories<P>& round,
               [[maybe_unused]] std::size_t micro_batch_rows) {
        if constexpr (present) evaluate_values(*critic(parts), round, micro_batch_rows, scale_.scale);
    }

    /// After the returns are known.
    template <class Report>
    void learn(std::tuple<part<C>...>& parts, trajectories<P>& round, const critic_update_options& options, rng_key key,
               Report& report) {
        const critic_update_report done = update_critic(*critic(parts), round, options, key, &scale_);
        report.value_loss = done.loss.loss / static_cast<double>(done.steps + done.discarded);
        report.explained_variance = done.explained_variance;
        report.critic_grad_norm = done.grad_norm;
        report.critic_steps = done.steps;
        report.discarded_steps += done.discarded;
    }

    template <class Archive>
    void visit([[maybe_unused]] Archive& a) {
        if constexpr (present) scale_.visit(a);
    }

private:
    static auto critic(std::tuple<part<C>...>& parts) {
        no_component none;
        return find_part<role::critic>(parts, none).component.critic;
    }

    popart::state scale_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
