#pragma once
#include "rlgaf/backend/conformance_report.hpp"

/// The part of the conformance kit that policies and scorers share. A "subject" S says how to ask a model M:
///   S::batch, S::scalar, S::channels, S::name(k); S::blank(batch); S::evaluate(m, batch, numbers&);
///   S::forward(m, batch, numbers&) -> tape; S::backward(m, tape, cotangents).
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// A step so small that no parameter changes: tells the norm of the gradient and clears it.
inline constexpr step_options tiny_step{.learning_rate = 1e-30, .max_norm = 0};

template <class S, class M>
numbers<typename S::scalar> evaluated(M& m, const typename S::batch& b) {
    auto out = S::blank(b);
    S::evaluate(m, b, out);
    out.clear_unused();
    return out;
}

template <class M, class F>
void for_each_block(M& m, F&& f) {
    auto&& blocks = m.parameters();
    const std::span<const parameter_block<typename M::scalar>> list(blocks);
    for (const auto& block : list) f(block);
}

template <class M>
std::vector<typename M::scalar> saved_parameters(M& m) {
    std::vector<typename M::scalar> saved;
    if constexpr (flat_parameters<M>)
        for_each_block(m,
                       [&](const auto& block) { saved.insert(saved.end(), block.values.begin(), block.values.end()); });
    return saved;
}
template <class M>
void restore_parameters(M& m, const std::vector<typename M::scalar>& saved) {
    if constexpr (flat_parameters<M>) {
        auto next = saved.begin();
        for_each_block(m, [&](const auto& block) {
            for (auto& x : block.values) x = *next++;
        });
    }
}

/// The accumulated gradient, or only its norm where parameters are out of reach. Clears it.
template <class M>
std::vector<double> take_gradient(M& m) {
    std::vector<double> g;
    if constexpr (flat_parameters<M>) {
        for_each_block(m,
                       [&](const auto& block) { g.insert(g.end(), block.gradients.begin(), block.gradients.end()); });
        m.discard();
    } else {
        g.push_back(m.step(tiny_step).grad_norm);
    }
    return g;
}
inline double largest(const std::vector<double>& x) {
    double m = 0;
    for (const double v : x) m = std::fmax(m, std::abs(v));
    return m;
}
/// "" if the gradients agree relative to their largest element.
inline std::string gradient_difference(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
    const double scale = std::fmax(largest(a), largest(b));
    for (std::size_t i = 0; i < a.size(); ++i)
        if (!(std::abs(a[i] - b[i]) <= tolerance * scale))
            return text_of(a[i]) + " and " + text_of(b[i]) +
                   (a.size() > 1 ? " (parameter " + std::to_string(i) + ")" : " (norms)");
    return {};
}

/// "" if row i of a is row j of b, else what differs. Log-probs of masked slots are not read.
template <class T, class B>
std::string batch_row_difference(const B& a, std::size_t i, const B& b, std::size_t j, double tolerance) {
    const std::size_t n = std::span<const std::uint32_t>(lengths(a))[i];
    if (n != std::span<const std::uint32_t>(lengths(b))[j]) return "lengths";
    if (std::span<const row_end>(ends(a))[i] != std::span<const row_end>(ends(b))[j]) return "ends";
    const mask_view ma = mask_of(a), mb = mask_of(b);
    const auto used = [](const mask_view& m, std::size_t row, std::size_t t) {
        return m.empty() || m.row(row)[t] != 0;
    };
    for (std::size_t t = 0; t < n; ++t) {
        if (used(ma, i, t) != used(mb, j, t)) return "mask";
        if constexpr (shows_tokens<B>)
            if (ragged_view<const std::int32_t>(tokens(a)).row(i)[t] !=
                ragged_view<const std::int32_t>(tokens(b)).row(j)[t])
                return "tokens";
        if constexpr (batch_has::behaviour_log_prob<B, T>) {
            const ragged_view<const T> la = behaviour_log_prob(a), lb = behaviour_log_prob(b);
            if (la.empty() != lb.empty()) return "behaviour_log_prob is in one batch only";
            if (la.empty() || !used(ma, i, t)) continue;
            const double x = static_cast<double>(la.row(i)[t]), y = static_cast<double>(lb.row(j)[t]);
            if (!(std::abs(x - y) <= tolerance * (1 + std::abs(x))))
                return "behaviour_log_prob " + text_of(x) + " and " + text_of(y);
        }
    }
    return {};
}

/// Forward says what evaluate says, twice, and everything is written and finite.
template <class S, class M>
std::string check_outputs(M& m, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    const auto first = evaluated<S>(m, b), again = evaluated<S>(m, b);
    for (std::size_t i = 0; i < first.value.size(); ++i)
        if (!(std::abs(first.value[i]) < std::numeric_limits<typename S::scalar>::infinity()))
            return "!evaluate leaves " + text_of(static_cast<double>(first.value[i])) + " in " +
                   S::name(i / first.used.size()) +
                   " (the array was filled with NaN before): every unmasked slot is written";
    if (const auto d = difference(first, again, limit.tolerance); !d.empty())
        return "!evaluate says two things about one batch: " + d + "; is dropout on?";
    auto taped = S::blank(b);
    { [[maybe_unused]] auto tape = S::forward(m, b, taped); }
    m.discard();
    taped.clear_unused();
    if (const auto d = difference(first, taped, limit.tolerance); !d.empty())
        return "!evaluate and forward differ: " + d +
               "; switch dropout off for this check, and look for another "
               "temperature or mask in one of them";
    return std::to_string(first.used.size()) + " slots agree";
}

/// Rows keep their numbers in any order and company.
template <class S, class M>
std::string check_rearranged(M& m, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    using T = typename S::scalar;
    const std::size_t n = rows(b);
    std::vector<std::size_t> pick = {n - 1, 0, 0, n / 2, 1};
    const auto whole = evaluated<S>(m, b);
    const auto compare = [&](const typename S::batch& part, const std::vector<std::size_t>& from,
                             const char* how) -> std::string {
        if (rows(part) != from.size())
            return std::string("!") + how + " gives " + std::to_string(rows(part)) + " rows instead of " +
                   std::to_string(from.size());
        for (std::size_t i = 0; i < from.size(); ++i)
            if (const auto d = batch_row_difference<T>(part, i, b, from[i], 0); !d.empty())
                return std::string("!") + how + ": row " + std::to_string(i) + " should be row " +
                       std::to_string(from[i]) + " of the batch and differs in " + d +
                       "; rows come in the order of the list, and may repeat";
        const auto out = evaluated<S>(m, part);
        for (std::size_t i = 0; i < from.size(); ++i)
            if (const auto d = row_difference(out, i, whole, from[i], limit.tolerance); !d.empty())
                return std::string("!") + how + ": evaluate gives a row other numbers than in the batch: " + d +
                       "; does padding or a neighbour leak into it, or did the row lose what is not shown (prompt, "
                       "temperature)?";
        return {};
    };
    std::string message = compare(select(b, std::span<const std::size_t>(pick)), pick, "select with repeated rows");
    if (!message.empty()) return message;
    auto joined = concat(select(b, std::span<const std::size_t>(pick)), b);
    for (std::size_t i = 0; i < n; ++i) pick.push_back(i);
    message = compare(joined, pick, "concat");
    for (std::size_t i = 0; i < std::min<std::size_t>(n, 4) && message.empty(); ++i) {
        const std::vector<std::size_t> alone = {i};
        message = compare(select(b, std::span<const std::size_t>(alone)), alone, "a row alone");
    }
    if (message.empty() && rows(select(b, std::span<const std::size_t>())) != 0) return "!select of no rows gives some";
    return message.empty() ? "rows keep their numbers in any order and company" : message;
}

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
