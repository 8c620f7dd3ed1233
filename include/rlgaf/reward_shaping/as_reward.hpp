#pragma once
#include <limits>
#include <type_traits>

#include "rlgaf/reward_shaping/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {
template <class F>
struct callable_reward {
    using role = role::reward;
    chars name;
    F function;
    double weight;

    void check() const {
        check_option(
            weight > -std::numeric_limits<double>::infinity() && weight < std::numeric_limits<double>::infinity(),
            "as_reward", "weight", "a finite number", weight);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>&, const Batch& batch, rewards<T>& out, workspace&) const {
        check();
        const std::span<double> r = out.add_outcome(name);
        if constexpr (std::is_invocable_v<const F&, const Batch&, std::span<double>>) {
            function(batch, r);
        } else {
            static_assert(std::is_invocable_r_v<double, const F&, const Batch&, std::size_t>,
                          "rlgaf: as_reward needs a callable `double (const batch&, std::size_t row)` or "
                          "`void (const batch&, std::span<double> reward)`");
            for (std::size_t i = 0; i < r.size(); ++i) r[i] = function(batch, i);
        }
        for (double& v : r) v *= weight;
    }
};
}  // namespace detail

/// A reward of your own: `double (const batch&, std::size_t row)`, or `void (const batch&, std::span<double> reward)`
/// for all rows at once (every element starts at 0). NaN means that the reward does not apply to that row. The name is
/// kept by reference: give a literal.
template <class F>
auto as_reward(chars name, F function, double weight = 1) {
    return detail::callable_reward<F>{name, static_cast<F&&>(function), weight};
}

}  // namespace rlgaf::inline RLGAF_ABI
