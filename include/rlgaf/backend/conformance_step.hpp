#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"

/// Gradients add up, and `step` and `discard` clear them.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// Gradients add up: over cotangents, over rows, with several tapes alive.
template <class S, class M>
std::string check_accumulation(M& m, const typename S::batch& b, const conformance_options& o,
                               const limits<typename S::scalar>& limit) {
    m.discard();
    auto out = S::blank(b), c1 = S::blank(b), c2 = S::blank(b), both = S::blank(b);
    c1.fill_normal(o.seed, 1, 0, true);
    c2.fill_normal(o.seed, 2, 0, true);
    for (std::size_t i = 0; i < both.value.size(); ++i) both.value[i] = c1.value[i] + c2.value[i];
    {
        auto first = S::forward(m, b, out);
        auto second = S::forward(m, b, out);
        S::backward(m, std::move(second), c1);
        S::backward(m, std::move(first), c2);
    }
    const auto twice = take_gradient(m);
    S::backward(m, S::forward(m, b, out), both);
    const auto once = take_gradient(m);
    if (largest(once) == 0) return "!backward leaves no gradient";
    if (const auto d = gradient_difference(twice, once, limit.tolerance); !d.empty())
        return "!two backwards do not add up to one with the sum of their cotangents: " + d +
               "; backward must add to the gradient, not set it, and `step` or `discard` clears it";
    std::vector<std::size_t> half[2];
    for (std::size_t i = 0; i < rows(b); ++i) half[i % 2].push_back(i);
    for (const auto& pick : half) {
        const auto part = select(b, std::span<const std::size_t>(pick));
        auto said = S::blank(part), c = S::blank(part);
        for (std::size_t k = 0; k < S::channels; ++k)
            for (std::size_t i = 0; i < pick.size(); ++i) {
                const auto from = both.channel(k).row(pick[i]);
                std::copy(from.begin(), from.end(), c.channel(k).row(i).begin());
            }
        S::backward(m, S::forward(m, part, said), c);
    }
    if (const auto d = gradient_difference(take_gradient(m), once, limit.tolerance); !d.empty())
        return "!the gradient of a batch is not the sum over its parts: " + d +
               "; backward must not divide by the number of rows or tokens";
    return "two backwards, and two halves of the batch, add up";
}

/// `step` and `discard` leave no gradient behind; the reported norm is that before clipping.
template <class S, class M>
std::string check_clearing(M& m, const typename S::batch& b, const conformance_options& o,
                           const limits<typename S::scalar>& limit) {
    auto out = S::blank(b), c = S::blank(b);
    c.fill_normal(o.seed, 3, 0, true);
    m.discard();
    S::backward(m, S::forward(m, b, out), c);
    const step_report first = m.step(tiny_step), empty = m.step(tiny_step);
    if (!first.applied)
        return "!step was not applied although the gradient is finite, norm " + text_of(first.grad_norm);
    if (!(first.grad_norm > 0)) return "!step reports norm " + text_of(first.grad_norm) + " after a backward";
    if (empty.grad_norm != 0)
        return "!a second step without backward reports norm " + text_of(empty.grad_norm) + ", the first had " +
               text_of(first.grad_norm) + "; step must clear the gradient";
    S::backward(m, S::forward(m, b, out), c);
    m.discard();
    if (const double norm = m.step(tiny_step).grad_norm; norm != 0)
        return "!a step after discard reports norm " + text_of(norm) + "; discard must clear the gradient";
    S::backward(m, S::forward(m, b, out), c);
    const double clipped = m.step({.learning_rate = 1e-30, .max_norm = first.grad_norm / 8}).grad_norm;
    if (!(std::abs(clipped - first.grad_norm) <= limit.tolerance * first.grad_norm))
        return "!with .max_norm step reports norm " + text_of(clipped) + " instead of " + text_of(first.grad_norm) +
               "; grad_norm is the norm before clipping";
    return "norm " + text_of(first.grad_norm) + ", then 0";
}

/// A NaN in a cotangent costs one step and nothing else.
template <class S, class M>
std::string check_nonfinite(M& m, const typename S::batch& b, const conformance_options& o,
                            const limits<typename S::scalar>& limit) {
    const auto before = evaluated<S>(m, b);
    auto out = S::blank(b), c = S::blank(b);
    c.fill_normal(o.seed, 4, 0);
    const auto good = c;
    const auto slot = std::find(c.used.begin(), c.used.end(), std::uint8_t{1}) - c.used.begin();
    c.value[static_cast<std::size_t>(slot)] = std::numeric_limits<typename S::scalar>::quiet_NaN();
    m.discard();
    S::backward(m, S::forward(m, b, out), c);
    const step_report report = m.step({.learning_rate = o.learning_rate, .max_norm = 1});
    if (report.applied)
        return "!a NaN in the cotangent was applied; step must look at the norm first, discard and say so";
    if (!difference(before, evaluated<S>(m, b), limit.tolerance).empty())
        return "!a step that was not applied changed the outputs";
    S::backward(m, S::forward(m, b, out), good);
    const step_report next = m.step(tiny_step);
    if (!next.applied) return "!the step after a discarded one is not applied; was the bad gradient kept?";
    if (const auto d = difference(before, evaluated<S>(m, b), limit.tolerance); !d.empty())
        return "!the step after a discarded one broke the outputs: " + d +
               "; has the optimiser's memory taken in the NaN?";
    return "a NaN was discarded and reported";
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
