#pragma once
#include <cmath>
#include <limits>
#include <vector>

#include "rlgaf/math/select.hpp"
#include "rlgaf/policy_gradient/terms.hpp"

/// What losses share that pick tokens out of all unmasked ones of the step.
namespace rlgaf::inline RLGAF_ABI::detail {

/// Fills `out` with (advantage - mean)(log_prob - mean) of every unmasked token, in their order.
template <class T>
void token_covariance(const policy_terms<T>& terms, std::vector<double>& out) {
    double advantage = 0, log_prob = 0;
    std::size_t n = 0;
    for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
        const auto l = terms.log_prob.row(b), a = terms.advantage.row(b);
        const included_tokens included(terms.mask, b);
        for (std::size_t t = 0; t < l.size(); ++t)
            if (included[t]) {
                advantage += static_cast<double>(a[t]);
                log_prob += static_cast<double>(l[t]);
                ++n;
            }
    }
    out.resize(n);
    advantage /= static_cast<double>(n);
    log_prob /= static_cast<double>(n);
    double* next = out.data();
    for (std::size_t b = 0; b < terms.log_prob.rows(); ++b) {
        const auto l = terms.log_prob.row(b), a = terms.advantage.row(b);
        const included_tokens included(terms.mask, b);
        for (std::size_t t = 0; t < l.size(); ++t)
            if (included[t]) *next++ = (static_cast<double>(a[t]) - advantage) * (static_cast<double>(l[t]) - log_prob);
    }
}

/// How many of n tokens a fraction picks: rounded down, but one where that is none.
inline std::size_t picked_count(double fraction, std::size_t n) noexcept {
    const double count = std::floor(fraction * static_cast<double>(n));
    return fraction == 0 || n == 0 ? 0 : count < 1 ? 1 : static_cast<std::size_t>(count);
}

/// The largest numbers of a list: all above `value`, and the first `ties` of those equal to it.
struct top_numbers {
    double value = std::numeric_limits<double>::infinity();
    std::size_t ties = 0;
};

/// The `count` largest of x; NaN is none of them. `kept` is scratch for at most 2 count + 1 numbers: of a step's tokens a
/// few are looked for, and few need a second look.
inline top_numbers largest_numbers(std::span<const double> x, std::size_t count, std::vector<double>& kept) {
    if (count == 0) return {};
    top_numbers top{-std::numeric_limits<double>::infinity(), 0};
    const auto drop_smaller = [&] {
        top = {kth_smallest(span_of(kept), kept.size() - count), count};
        std::size_t n = 0;
        for (const double v : kept)
            if (v > top.value) kept[n++] = v;
        top.ties -= n;
        while (n < count) kept[n++] = top.value;
        kept.resize(count);
    };
    kept.clear();
    for (const double v : x)
        if (v >= top.value) {
            kept.push_back(v);
            if (kept.size() > 2 * count) drop_smaller();
        }
    if (count > kept.size()) count = kept.size();
    if (count == 0) return {};
    drop_smaller();
    return top;
}

/// Picked tokens are pairs (row, token), one behind the other in `pairs`. Moves their gradients to `held`, so that a loss
/// over all tokens leaves their slopes alone in their places and the caller decides what to add of it.
template <class T>
void hold_gradients(const std::vector<std::size_t>& pairs, const ragged_view<T>& gradient, std::vector<double>& held) {
    held.clear();
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
        T& d = gradient.row(pairs[i])[pairs[i + 1]];
        held.push_back(static_cast<double>(d));
        d = 0;
    }
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
