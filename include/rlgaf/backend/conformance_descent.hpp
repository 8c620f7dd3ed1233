#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

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

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
