#pragma once
#include <tuple>

#include "rlgaf/reward_shaping/adaptive_kl_penalty.hpp"
#include "rlgaf/reward_shaping/kl_step_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

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
