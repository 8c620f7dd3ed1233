#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

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
