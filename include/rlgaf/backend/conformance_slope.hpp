#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"

/// Gradients of a model against differences of its outputs.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

struct slope {
    double value, error;
};
/// Central differences at h and 2h, extrapolated; their disagreement and rounding are the error.
template <class F>
slope slope_of(F&& f, double h, double noise) {
    const double near = (f(h) - f(-h)) / (2 * h), far = (f(2 * h) - f(-2 * h)) / (4 * h);
    const double best = (4 * near - far) / 3;
    return {best, std::abs(best - near) + 4 * noise / h};
}

inline std::string likely_mistake(double differences, double backward) {
    const double ratio = backward / differences;
    if (std::abs(backward) < 1e-6 * std::abs(differences)) return "backward does not reach these parameters";
    if (std::abs(ratio + 1) < 0.1)
        return "the sign is wrong: backward accumulates the gradient of +sum(c * output), and step descends";
    if (ratio > 0)
        return "a factor of about " + text_of(ratio) +
               " (rows? temperature? a mean instead of a sum?), or a term is missing";
    return "a wrong term; are the cotangents read at the right row and position?";
}

/// The gradient of sum(c * output k) against differences, block by block: along random directions and single
/// parameters. Restores the parameters.
template <class S, class M>
std::string check_gradient(M& m, const typename S::batch& b, std::size_t k, const conformance_options& o,
                           const limits<typename S::scalar>& limit) {
    using T = typename S::scalar;
    auto c = S::blank(b), out = S::blank(b);
    c.fill_normal(o.seed, 16 + static_cast<std::uint32_t>(k), k);
    m.discard();
    S::backward(m, S::forward(m, b, out), c);
    const std::vector<double> gradient = take_gradient(m);
    const double noise = inner(c, evaluated<S>(m, b)).noise;
    std::size_t offset = 0, compared = 0, clear = 0, number = 0;
    std::string failure;
    for_each_block(m, [&](const parameter_block<T>& block) {
        const std::size_t n = block.values.size();
        const std::span<const double> g(gradient.data() + offset, n);
        offset += n;
        ++number;
        if (n == 0) return;
        const std::vector<T> saved(block.values.begin(), block.values.end());
        double squares = 0;
        for (const T x : saved) squares += static_cast<double>(x) * static_cast<double>(x);
        const double step = limit.step * std::fmax(1.0, std::sqrt(squares / static_cast<double>(n)));
        std::vector<double> v(n);
        const auto compare = [&](double h, const std::string& where) {
            const slope d = slope_of(
                [&](double s) {
                    for (std::size_t i = 0; i < n; ++i)
                        block.values[i] =
                            v[i] == 0 ? saved[i] : static_cast<T>(static_cast<double>(saved[i]) + s * v[i]);
                    return inner(c, evaluated<S>(m, b)).value;
                },
                h, noise);
            std::copy(saved.begin(), saved.end(), block.values.begin());
            double said = 0;
            for (std::size_t i = 0; i < n; ++i) said += g[i] * v[i];
            const double size = std::fmax(std::abs(d.value), std::abs(said));
            ++compared;
            clear += size > 4 * d.error;
            if (failure.empty() && !(std::abs(d.value - said) <= limit.gradient * size + d.error))
                failure = std::string("!block \"") + block.name.c_str() + "\", " + where + ": differences say " +
                          text_of(d.value) + " (+- " + text_of(d.error) + "), backward says " + text_of(said) + "; " +
                          likely_mistake(d.value, said);
        };
        for (std::uint32_t j = 0; j < o.directions; ++j) {
            const random_stream random({o.seed, j}, stream::user, number << 24);
            for (std::size_t i = 0; i < n; ++i)
                v[i] =
                    random.uniform(static_cast<std::uint32_t>(i & 0xFFFFFF), static_cast<std::uint32_t>(i >> 24)) < 0.5
                        ? -1
                        : 1;
            compare(step / std::sqrt(std::sqrt(static_cast<double>(n))), "along a random direction");
        }
        for (std::uint32_t j = 0; j < o.coordinates && j < n; ++j) {
            // The largest, one anywhere (often untouched: 0 there), then some that the batch reaches.
            const random_stream random({o.seed, j}, stream::user, number);
            std::size_t i = 0;
            if (j == 0)
                for (std::size_t l = 1; l < n; ++l) i = std::abs(g[l]) > std::abs(g[i]) ? l : i;
            else
                for (std::uint32_t draw = 0; draw < (j == 1 ? 1 : 50) && (draw == 0 || g[i] == 0); ++draw)
                    i = static_cast<std::size_t>(random.below(n, 0, draw));
            std::fill(v.begin(), v.end(), 0.0);
            v[i] = 1;
            compare(step, "parameter " + std::to_string(i));
        }
    });
    if (!failure.empty()) return failure;
    if (clear == 0)
        return largest(gradient) == 0 ? "skipped: no parameter changes this output"
                                      : "skipped: the differences are all smaller than their error";
    return std::to_string(compared) + " slopes agree, " + std::to_string(clear) + " of them well above the error";
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
