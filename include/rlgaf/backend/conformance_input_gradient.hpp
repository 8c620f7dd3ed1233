#pragma once
#include "rlgaf/backend/conformance_slope.hpp"
#include "rlgaf/backend/scorer.hpp"

/// Gradients by inputs. Inner products of perturbations come from their norms, because nothing else is seen.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

template <class M, class B>
struct moved_rows {
    const B& rows;
    const typename M::perturbation& by;
};

/// A scorer whose inputs are moved.
template <class M, class B>
struct moved_subject {
    using scalar = typename M::scalar;
    using batch = moved_rows<M, B>;
    static constexpr std::size_t channels = 1;

    static const char* name(std::size_t) { return "score"; }
    static numbers<scalar> blank(const batch& b) {
        return numbers<scalar>(std::vector<std::size_t>(rows(b.rows), 1), mask_view{}, 1);
    }
    static void evaluate(M& m, const batch& b, numbers<scalar>& x) { (void)forward(m, b, x); }
    static auto forward(M& m, const batch& b, numbers<scalar>& x) {
        return m.forward(b.rows, b.by, std::span<scalar>(x.value));
    }
    static void backward(M& m, typename M::tape&& t, const numbers<scalar>& x) {
        m.backward(std::move(t), std::span<const scalar>(x.value));
    }
};

template <class M>
std::vector<typename M::scalar> norms_of(M& m, const typename M::perturbation& p, std::size_t n) {
    std::vector<typename M::scalar> norm(n);
    m.row_norms(p, std::span<typename M::scalar>(norm));
    return norm;
}
template <class M>
typename M::perturbation sum_of(M& m, typename M::perturbation p, const typename M::perturbation& q,
                                const std::vector<typename M::scalar>& factor) {
    typename M::perturbation scaled = q;
    m.scale(scaled, std::span<const typename M::scalar>(factor));
    m.add(p, scaled);
    return p;
}

/// Of sum(d * score) by the inputs, along a direction of length 1 in every row; at inputs moved by `base`.
template <class M, class B>
std::string check_input_gradient(M& m, const B& b, const typename M::perturbation& base, const conformance_options& o,
                                 const limits<typename M::scalar>& limit) {
    using T = typename M::scalar;
    using S = moved_subject<M, B>;
    const std::size_t n = rows(b);
    auto c = S::blank({b, base});
    c.fill_normal(o.seed, 24, 0);
    m.discard();
    const auto gradient = m.input_gradient(b, base, std::span<const T>(c.value));
    if (largest(take_gradient(m)) != 0)
        return "!input_gradient has left gradients in the parameters; it adds nothing there";
    auto direction = m.noise(b, 1, {o.seed, 5});
    std::vector<T> by = norms_of(m, direction, n);
    for (T& x : by) x = x > 0 ? 1 / x : T{0};
    m.scale(direction, std::span<const T>(by));
    // g . v = (|g + s v|^2 - |g - s v|^2) / 4 s, with s = |g|: both terms are of one size then.
    const std::vector<T> size = norms_of(m, gradient, n);
    std::vector<T> minus = size;
    for (T& x : minus) x = -x;
    const auto plus_norm = norms_of(m, sum_of(m, gradient, direction, size), n),
               minus_norm = norms_of(m, sum_of(m, gradient, direction, minus), n);
    double said = 0, sizes = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double p = static_cast<double>(plus_norm[i]), q = static_cast<double>(minus_norm[i]);
        if (size[i] > 0) said += (p * p - q * q) / (4 * static_cast<double>(size[i]));
        sizes += static_cast<double>(size[i]);
    }
    const inner_product at = inner(c, evaluated<S>(m, {b, base}));
    const slope d = slope_of(
        [&](double h) {
            const auto moved = sum_of(m, base, direction, std::vector<T>(n, static_cast<T>(h)));
            return inner(c, evaluated<S>(m, {b, moved})).value;
        },
        limit.step, at.noise);
    const double scale = std::fmax(std::abs(d.value), std::abs(said));
    if (!(std::abs(d.value - said) <= limit.gradient * scale + d.error + 16 * limit.rounding * sizes))
        return "!differences of the score along noise say " + text_of(d.value) + " (+- " + text_of(d.error) +
               "), input_gradient says " + text_of(said) + "; " +
               (said == 0 ? "does the gradient reach the inputs?" : likely_mistake(d.value, said));
    if (!(scale > 4 * d.error)) return "skipped: the differences are all smaller than their error";
    return "differences say " + text_of(d.value) + ", input_gradient says " + text_of(said);
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
