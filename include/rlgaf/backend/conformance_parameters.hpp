#pragma once
#include "rlgaf/backend/conformance_numbers.hpp"

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

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
