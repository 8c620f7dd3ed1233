#pragma once
#include <cmath>
#include <cstdint>
#include <span>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Mean and sum of squared deviations, with their count.
struct moments {
    double count = 0;
    double mean = 0;
    double squares = 0;  ///< sum of (x - mean)^2

    double variance() const noexcept { return count > 1 ? squares / (count - 1) : 0; }  ///< Bessel; 0 below two
    double biased_variance() const noexcept { return count > 0 ? squares / count : 0; }
    double deviation() const noexcept { return std::sqrt(variance()); }

    /// Joins two disjoint sets exactly. Source: Chan, Golub, LeVeque 1983.
    void merge(const moments& other) noexcept {
        if (other.count == 0) return;
        const double n = count + other.count, d = other.mean - mean;
        squares += other.squares + d * d * count * other.count / n;
        mean += d * other.count / n;
        count = n;
    }
    template <class Archive>
    void visit(Archive& a) {
        a("count", count), a("mean", mean), a("squares", squares);
    }
};

/// Two passes, so that a large mean costs no digits. NaN elements do not take part.
inline moments moments_of(std::span<const double> x) noexcept {
    moments m;
    const auto sum_of = [x](auto&& f) {  // over what is no NaN
        detail::lane_sum sum;
        double value[detail::block_tokens];
        detail::for_each_block(x.size(), [&](const std::size_t first, const std::size_t n) {
            const double* const from = x.data() + first;
            for (std::size_t i = 0; i < n; ++i) value[i] = detail::choose(is_nan(from + i), 0.0, f(from[i]));
            sum.add(value, n);
        });
        return sum.total();
    };
    m.count = sum_of([](double) { return 1.0; });
    if (m.count == 0) return m;
    m.mean = sum_of([](double v) { return v; }) / m.count;
    m.squares = sum_of([mean = m.mean](double v) { return (v - mean) * (v - mean); });
    return m;
}

/// x - mean, and exactly 0 where only the mean's rounding is left: equal rewards teach nothing.
inline double centred(double x, double mean) noexcept {
    const double d = x - mean;
    return detail::choose(std::abs(d) <= 1e-12 * std::abs(mean), 0.0, d);
}

/// A spread of this size is rounding noise: what is divided by it becomes 0, not noise / noise.
inline bool is_constant(double deviation, double mean) noexcept {
    return !(deviation > 1e-6 * std::fmax(1.0, std::abs(mean)));
}

/// Moments that forget: batch k weighs decay^(K - k), with the start corrected for.
/// Source: the bias correction of Kingma and Ba 2014 applied to mean and variance.
struct ema_moments {
    double weight = 0, mean = 0, variance = 0;

    void update(const moments& batch, double decay) noexcept {
        if (batch.count == 0) return;
        weight = decay * weight + 1;
        const double a = 1 / weight, d = batch.mean - mean;
        mean += a * d;
        variance += a * (batch.biased_variance() + (1 - a) * d * d - variance);
    }
    template <class Archive>
    void visit(Archive& a) {
        a("weight", weight), a("mean", mean), a("variance", variance);
    }
};

/// Moments of the unmasked tokens, in two passes.
template <class T>
moments token_moments(const ragged_view<const T>& x, const mask_view& mask) noexcept {
    using detail::token_numbers;
    moments m;
    const auto sums = detail::sum_tokens<1>(
        mask, [](T v) { return token_numbers<1, T>{{v}}; }, x);
    if (sums.tokens == 0) return m;
    m.count = sums.tokens;
    m.mean = sums.sum[0] / m.count;
    const T near = static_cast<T>(m.mean);  // the mean as a T; what it lacks is taken out again
    const auto spread = detail::sum_tokens<2>(
        mask,
        [near](T v) {
            return token_numbers<2, T>{{v - near, (v - near) * (v - near)}};
        },
        x);
    const double squares = spread.sum[1] - spread.sum[0] * spread.sum[0] / m.count;
    m.squares = squares > 0 ? squares : 0;
    return m;
}

enum class variance_kind { bessel, biased };

/// Shifts and scales the unmasked tokens to mean 0 (unless keep_mean) and deviation 1.
/// Shapes: x ragged, in place; masked slots are neither read nor written.
/// Degenerate: a single token is centred; numbers that are all equal become the mean that is left, exactly (peers raise, or
///             multiply rounding noise by 1e4).
/// Source: the table of variants in TRL, verl, OpenRLHF and cleanrl; `kind` and `keep_mean` cover them.
struct whiten {
    variance_kind kind = variance_kind::bessel;
    bool keep_mean = false;  ///< only scale about the mean (reward whitening in TRL's PPO)

    template <class T>
    moments operator()(const ragged_view<T>& x, const mask_view& mask) const {
        detail::check_same_shape_if_given(x, mask, "whiten", "mask");
        const moments m = token_moments(ragged_view<const T>(x), mask);
        const double deviation = std::sqrt(kind == variance_kind::bessel ? m.variance() : m.biased_variance());
        const double scale = m.count < 2 ? 1 : is_constant(deviation, m.mean) ? 0 : 1 / deviation;
        const double shift = keep_mean ? m.mean : 0;
        for (std::size_t b = 0; b < x.rows(); ++b) {
            const auto row = x.row(b);
            const included_tokens included(mask, b);
            for (std::size_t t = 0; t < row.size(); ++t) {
                const T v = static_cast<T>((static_cast<double>(row[t]) - m.mean) * scale + shift);
                row[t] = included[t] ? v : row[t];
            }
        }
        return m;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
