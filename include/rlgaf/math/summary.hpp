#pragma once
#include <limits>

#include "rlgaf/math/moments.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Moments with the ends of the range, which are NaN where there is nothing.
struct summary : moments {
    double min = std::numeric_limits<double>::quiet_NaN();
    double max = std::numeric_limits<double>::quiet_NaN();

    void merge(const summary& other) noexcept {
        moments::merge(other);
        min = std::fmin(min, other.min);  // of NaN and a number: the number
        max = std::fmax(max, other.max);
    }
};

/// Two passes. `each(f)` calls f(x) for every number, both times the same ones. A NaN makes mean and squares NaN.
template <class Each>
summary summary_of(Each&& each) {
    summary s;
    each([&](double x) {
        s.mean += x;
        s.count += 1;
        s.min = std::fmin(s.min, x);
        s.max = std::fmax(s.max, x);
    });
    if (s.count > 0) s.mean /= s.count;
    each([&](double x) { s.squares += (x - s.mean) * (x - s.mean); });
    return s;
}

/// Of f(row, token) over unmasked tokens.
template <class T, class F>
summary token_summary(const ragged_view<T>& shape, const mask_view& mask, F&& f) {
    return summary_of(
        [&](auto&& g) { for_each_token(shape, mask, [&](std::size_t b, std::size_t t) { g(f(b, t)); }); });
}
/// Of the unmasked tokens themselves.
template <class T>
summary token_summary(const ragged_view<T>& x, const mask_view& mask) {
    return token_summary(x, mask, [&](std::size_t b, std::size_t t) { return static_cast<double>(x.row(b)[t]); });
}

/// Effective sample size of importance weights as a share of their number: (sum w)^2 / (n sum w^2), in [1 / n, 1].
/// Degenerate: no weights, or all of them 0: 0.
/// Source: Kish 1965; Kong 1992.
inline double ess_fraction(const moments& weight) noexcept {
    const double second = weight.mean * weight.mean + weight.biased_variance();
    return second == 0 ? 0 : weight.mean * weight.mean / second;
}

/// Share of the returns' variance that the values explain: 1 - Var(returns - value) / Var(returns). 1 is perfect, 0 is
/// what a constant explains, negative is worse than that.
/// Degenerate: NaN where the returns are all equal (cleanrl; verl adds 1e-5 to the variance and returns a number).
inline double explained_variance(const moments& returns, const moments& residual) noexcept {
    if (is_constant(returns.deviation(), returns.mean)) return std::numeric_limits<double>::quiet_NaN();
    return 1 - residual.squares / returns.squares;
}

}  // namespace rlgaf::inline RLGAF_ABI
