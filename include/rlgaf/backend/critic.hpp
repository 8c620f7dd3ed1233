#pragma once
#include <vector>

#include "rlgaf/backend/driver.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What the parts of a critic must look like.
namespace critic_has {
template <class C, class B>
concept evaluate = requires(C& c, const B& b, policy_outputs<typename C::scalar> out) {
    { c.evaluate(b, out) } -> std::same_as<void>;
};
template <class C, class B>
concept forward = requires(C& c, const B& b, policy_outputs<typename C::scalar> out) {
    { c.forward(b, out) } -> std::same_as<typename C::tape>;
};
template <class C>
concept backward = requires(C& c, typename C::tape t, policy_cotangents<typename C::scalar> d) {
    c.backward(static_cast<typename C::tape&&>(t), d);
};
template <class C>
concept step = requires(C& c, const step_options& o) {
    { c.step(o) } -> std::same_as<step_report>;
};
template <class C>
concept discard = requires(C& c) {
    c.discard();
};
}  // namespace critic_has

/// One number a position: the value of the state before that action. A policy without rollout, of which only `value` and
/// `d_value` are asked; a policy with gives_value is one. Values do not see the action, nor what comes after it.
template <class C, class B>
concept critic_backend = has_scalar<C> && gives_value<C>() && critic_has::evaluate<C, B> && critic_has::forward<C, B> &&
    critic_has::backward<C> && critic_has::step<C> && critic_has::discard<C>;

/// A critic whose last layer can be rescaled: every value v becomes scale * v + shift, whatever the state. Serves Pop-Art.
template <class C>
concept rescales_values = requires(C& c, double scale, double shift) {
    { c.rescale(scale, shift) } -> std::same_as<void>;
};

/// Compile-time check of a critic of batches B: fails with one sentence for the first thing that is missing, or is true.
template <class C, class B>
consteval bool check_critic() {
    if constexpr (!has_scalar<C>)
        static_assert(has_scalar<C>, "rlgaf: the critic needs `using scalar = float;` or `double`");
    else if constexpr (!gives_value<C>())
        static_assert(gives_value<C>(),
                      "rlgaf: the critic needs `static constexpr bool gives_value = true;`: it fills "
                      "policy_outputs::value and takes policy_cotangents::d_value");
    else if constexpr (!critic_has::evaluate<C, B>)
        static_assert(critic_has::evaluate<C, B>,
                      "rlgaf: the critic needs `void evaluate(const batch&, rlgaf::policy_outputs<scalar>)`: the value "
                      "before each action, without gradient, dropout off");
    else if constexpr (!critic_has::forward<C, B>)
        static_assert(critic_has::forward<C, B>,
                      "rlgaf: the critic needs `using tape = ...;` and `tape forward(const batch&, "
                      "rlgaf::policy_outputs<scalar>)`: as evaluate, and remembers what backward needs");
    else if constexpr (!critic_has::backward<C>)
        static_assert(critic_has::backward<C>,
                      "rlgaf: the critic needs `void backward(tape&&, rlgaf::policy_cotangents<scalar>)`: "
                      "accumulate the gradient of sum(d_value * value)");
    else if constexpr (!critic_has::step<C>)
        static_assert(critic_has::step<C>,
                      "rlgaf: the critic needs `rlgaf::step_report step(const rlgaf::step_options&)`: "
                      "descend along the accumulated gradient and clear it");
    else if constexpr (!critic_has::discard<C>)
        static_assert(critic_has::discard<C>,
                      "rlgaf: the critic needs `void discard()`: drop the accumulated gradient");
    return critic_backend<C, B>;
}

/// Fills value [B, length] without gradient, `micro_rows` rows at a time (0: all at once).
template <class C, class Batch>
void evaluate_in_parts(C& critic, const Batch& batch, const ragged_view<typename C::scalar>& value,
                       std::size_t micro_rows, std::vector<std::size_t>& pick) {
    detail::for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        critic.evaluate(part, {.value = detail::slice_if_given(value, first, count)});
    });
}

/// Accumulates the gradient of a loss that is a sum over rows. `loss(first, count)` reads those rows of `value` and adds
/// to those of `d_value`; it is called once for every micro-batch.
template <class C, class Batch, class Loss>
void accumulate_gradient(C& critic, const Batch& batch, const ragged_view<typename C::scalar>& value,
                         const ragged_view<typename C::scalar>& d_value, std::size_t micro_rows,
                         std::vector<std::size_t>& pick, Loss&& loss) {
    using T = typename C::scalar;
    detail::for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        typename C::tape tape = critic.forward(part, {.value = detail::slice_if_given(value, first, count)});
        loss(first, count);
        critic.backward(static_cast<typename C::tape&&>(tape),
                        {.d_value = ragged_view<const T>(detail::slice_if_given(d_value, first, count))});
    });
}

}  // namespace rlgaf::inline RLGAF_ABI
