#pragma once
#include "rlgaf/backend/conformance_model.hpp"

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

/// A small step lowers sum(c * output 0), and half the learning rate lowers it about half as much. Sees signs and
/// forgotten learning rates, no details. Works on clones, else restores parameters, else leaves them changed.
template <class S, class M>
std::string check_descent(M& m, const typename S::batch& b, const conformance_options& o) {
    auto c = S::blank(b), out = S::blank(b);
    c.fill_normal(o.seed, 5, 0);
    double noise = 0;
    const auto drop_of = [&](M& model, double rate) {
        const auto before = inner(c, evaluated<S>(model, b));
        model.discard();
        S::backward(model, S::forward(model, b, out), c);
        model.step({.learning_rate = rate, .max_norm = 0});
        noise = 50 * before.noise;
        return before.value - inner(c, evaluated<S>(model, b)).value;
    };
    const auto drop = [&](double rate) {
        if constexpr (clonable<M>) {
            M copy = m.clone();
            return drop_of(copy, rate);
        } else {
            const auto saved = saved_parameters(m);
            const double d = drop_of(m, rate);
            restore_parameters(m, saved);
            return d;
        }
    };
    std::string message = "skipped: no learning rate changes the sum by more than rounding does";
    for (const double factor : {1.0, 1.0 / 16, 16.0, 1.0 / 256, 256.0}) {
        const double rate = factor * o.learning_rate, whole = drop(rate);
        if (!(std::abs(whole) > noise)) continue;
        const double half = drop(rate / 2);
        const std::string said = "a step of " + text_of(rate) + " lowers sum(c * " + S::name(0) + ") by " +
                                 text_of(whole) + ", half of it by " + text_of(half);
        if (whole > 0 && half > 0 && whole / half > 1.6 && whole / half < 2.5) return said;
        if (message[0] == 's')
            message = "!" + said + "; " +
                      (whole < 0 ? "the sign of the gradient or of the step is wrong"
                                 : "is .learning_rate used, and does the step follow the gradient?");
    }
    return message;
}

/// All checks of one model on one batch.
template <class S, class M>
void check_model(M& m, const typename S::batch& b, const conformance_options& o, conformance_report& report) {
    const limits<typename S::scalar> limit(o);
    run(report, "evaluate and forward agree", [&] { return check_outputs<S>(m, b, limit); });
    run(report, "select and concat", [&] { return check_rearranged<S>(m, b, limit); });
    for (std::size_t k = 0; k < S::channels; ++k) {
        std::string name = "gradient of ";
        name += S::name(k);
        run(report, name.c_str(), [&]() -> std::string {
            if constexpr (flat_parameters<M>)
                return check_gradient<S>(m, b, k, o, limit);
            else
                return "skipped: no parameters() to take differences of; see \"a step descends\"";
        });
    }
    run(report, "a step descends", [&] { return check_descent<S>(m, b, o); });
    run(report, "gradients accumulate", [&] { return check_accumulation<S>(m, b, o, limit); });
    run(report, "step and discard clear", [&] { return check_clearing<S>(m, b, o, limit); });
    run(report, "a NaN gradient is discarded", [&] { return check_nonfinite<S>(m, b, o, limit); });
}

/// A clone has no gradients, and takes the first step of a fresh optimiser: that of a clone from before any step.
template <class S, class M>
std::string check_fresh_clone(const M& m, const typename S::batch& b) {
    M trained = m.clone(), first = m.clone();
    const auto saved = saved_parameters(trained);
    auto out = S::blank(b), c = S::blank(b);
    const auto backward = [&](M& model, std::uint32_t which) {
        c.fill_normal(1, which, 0);
        S::backward(model, S::forward(model, b, out), c);
    };
    for (const std::uint32_t which : {7u, 8u, 9u}) {
        backward(trained, which);
        if (which < 9) trained.step({.learning_rate = 0.1, .max_norm = 0});
    }
    restore_parameters(trained, saved);
    M second = trained.clone();
    if (const double norm = trained.clone().step(tiny_step).grad_norm; norm != 0)
        return "!a clone has gradients, of norm " + text_of(norm) + "; a clone starts without any";
    if constexpr (flat_parameters<M>) {
        for (M* const model : {&first, &second}) {
            backward(*model, 6);
            model->step({.learning_rate = 0.1, .max_norm = 0});
        }
        const auto x = saved_parameters(first), y = saved_parameters(second);
        double apart = 0, moved = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            apart = std::hypot(apart, static_cast<double>(x[i]) - static_cast<double>(y[i]));
            moved = std::hypot(moved, static_cast<double>(x[i]) - static_cast<double>(saved[i]));
        }
        if (apart > 0.1 * moved)
            return "!the same cotangent moves a clone by " + text_of(moved) +
                   ", and a clone of a trained model with the same parameters elsewhere, " + text_of(apart) +
                   " from there; a clone's optimiser starts without memory";
    }
    return {};
}

/// Calls f on a clone where there is one; else on the model itself, and restores what can be restored.
template <class S, class M, class F>
void without_harm(M& m, conformance_report& report, F&& f) {
    if constexpr (clonable<M>) {
        M copy = m.clone();
        const typename S::batch b = f(copy);
        run(report, "clone", [&]() -> std::string {
            const auto before = evaluated<S>(m, b);
            M moved = m.clone();
            auto out = S::blank(b), c = S::blank(b);
            c.fill_normal(1, 6, 0);
            if (const auto d = difference(before, evaluated<S>(moved, b), 0); !d.empty())
                return "!a clone says other things: " + d;
            S::backward(moved, S::forward(moved, b, out), c);
            moved.step({.learning_rate = 0.1, .max_norm = 0});
            if (const auto d = difference(before, evaluated<S>(m, b), 0); !d.empty())
                return "!a step of the clone changed the original: " + d + "; a clone needs parameters of its own";
            if (auto d = check_fresh_clone<S>(m, b); !d.empty()) return d;
            return "everything was checked on a clone; the model itself is as it was";
        });
    } else {
        const auto saved = saved_parameters(m);
        f(m);
        m.discard();
        restore_parameters(m, saved);
        report.parameters_changed = !flat_parameters<M>;
        report.findings.push_back(
            {"clone", true,
             flat_parameters<M>
                 ? "skipped: no clone(); parameters are restored, the optimiser's memory has seen a few steps"
                 : "skipped: no clone() and no parameters(): the checks have changed the model, load it anew"});
    }
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
