#pragma once
#include "rlgaf/policy_gradient/informative_groups.hpp"
#include "rlgaf/policy_gradient/resample_rows.hpp"
#include "rlgaf/training/roles.hpp"
#include "rlgaf/training/step_measures.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

template <class C, class T>
constexpr bool chooses_groups = component_of<C, role::row_choice>&&
takes<C, const reward_view<T>&, const groups&, const mask_view&, workspace&, std::vector<std::size_t>&>();
template <class C>
constexpr bool chooses_rows = takes<C, std::span<const double>, rng_key, workspace&, std::vector<std::size_t>&>();

/// Where update_policy asks the component of role::row_choice, if any, which rows it trains on, once a round, after
/// advantages are known. Returns whether one was asked; `order` is all rows otherwise.
template <policy_backend P, class... Parts>
bool choose_rows(trajectories<P>& t, [[maybe_unused]] rng_key key, std::vector<std::size_t>& order, Parts&... parts) {
    using T = typename P::scalar;
    static_assert((std::size_t{component_of<decltype(Parts::component), role::row_choice>} + ... + 0) <= 1,
                  "rlgaf: two components choose the rows that the policy trains on; it takes one");
    order.resize(rows(t.batch));
    count_up(span_of(order));
    bool chosen = false;
    [[maybe_unused]] const auto choose = [&](auto& one) {
        using C = decltype(one.component);
        if constexpr (chooses_groups<C, T>) {
            one(t.reward.view(), t.group(), mask_of(t.batch), t.work, order);
            chosen = true;
        } else if constexpr (component_of<C, role::row_choice>) {
            static_assert(
                chooses_rows<C>,
                "rlgaf: a component of role::row_choice is called with (const reward_view<T>&, const groups&, const "
                "mask_view&, workspace&, std::vector<std::size_t>& pick) or (std::span<const double> reward, rng_key, "
                "workspace&, std::vector<std::size_t>& pick)");
            std::vector<double> total(rows(t.batch));
            const reward_view<T> reward = t.reward.view();
            for (std::size_t i = 0; i < total.size(); ++i) total[i] = total_reward(reward, mask_of(t.batch), i);
            one(std::span<const double>(total), key, t.work, order);
            chosen = true;
        }
    };
    (choose(parts), ...);
    return chosen;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
