#pragma once
#include "rlgaf/policy_gradient/advantage/center.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

template <class T, class G>
void check_token_rewards(const advantage_terms<T>& terms, const ragged_view<G>& advantage, const char* function) {
    check_advantage_terms(terms, advantage, function);
    if (!terms.reward.bootstrap.empty())
        check_size(terms.reward.bootstrap.size(), advantage.rows(), function, "terms.reward.bootstrap");
}

/// Tokens of all rows: room for what list_tokens writes.
template <class G>
std::size_t all_tokens(const ragged_view<G>& shape) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < shape.rows(); ++i) n += shape.length(i);
    return n;
}

/// The value after row i: 0 unless the row was truncated.
template <class T>
double bootstrap_of(const reward_view<T>& reward, std::size_t i) {
    return reward.bootstrap.empty() ? 0 : reward.bootstrap[i];
}

/// Unmasked tokens of row i.
inline std::size_t token_count(std::size_t length, const mask_view& mask, std::size_t i) {
    return mask.empty() ? length : count_included(mask.data(i), length);
}
template <class G>
bool has_token(const ragged_view<G>& shape, const mask_view& mask, std::size_t i) {
    return token_count(shape.length(i), mask, i) > 0;
}

/// The undiscounted return of a row without token rewards; NaN where no reward applies.
template <class T>
double row_return(const reward_view<T>& reward, std::size_t i) {
    const double outcome = reward.outcome.empty() ? 0 : outcome_of(reward, i);
    return outcome + bootstrap_of(reward, i);
}

/// Calls f(token, return) for the unmasked tokens of row i, the last one first; not at all if no reward applies.
/// G_t = r_t + discount G_{t+1}, `bootstrap` after the last token. The row's outcomes are paid at its last unmasked token.
template <class T, class F>
void for_each_return(const advantage_terms<T>& terms, std::size_t i, std::size_t length, double discount, F&& f) {
    double outcome = outcome_of(terms.reward, i), to_go = bootstrap_of(terms.reward, i);
    if (is_nan(&outcome)) {
        if (!terms.reward.outcome.empty()) return;
        outcome = 0;
    }
    const auto token = row_if_given(terms.reward.token, i);
    const included_tokens included(terms.mask, i);
    for (std::size_t t = length; t-- > 0;) {
        if (!included[t]) continue;
        to_go = (token.empty() ? outcome : outcome + static_cast<double>(token[t])) + discount * to_go;
        f(t, to_go);
        outcome = 0;
    }
}

/// The unmasked tokens of row i, in order and one behind the other, to `out`; returns how many.
template <class T>
std::size_t list_tokens(const ragged_view<const T>& x, const mask_view& mask, std::size_t i, double* out) {
    const auto row = x.row(i);
    if (!mask.empty()) return pack_included(row.data(), mask.data(i), row.size(), out);
    for (std::size_t t = 0; t < row.size(); ++t) out[t] = static_cast<double>(row[t]);
    return row.size();
}

/// The rewards of row i's unmasked tokens, in order, to `out`; returns how many: none if no reward applies. The outcomes
/// are paid at the last one.
template <class T>
std::size_t list_rewards(const advantage_terms<T>& terms, std::size_t i, std::size_t length, double* out) {
    double outcome = outcome_of(terms.reward, i);
    const bool stepwise = !terms.reward.token.empty(), applies = !is_nan(&outcome);
    if (!applies && !terms.reward.outcome.empty()) return 0;
    const std::size_t n = token_count(length, terms.mask, i);
    if (stepwise) list_tokens(terms.reward.token, terms.mask, i, out);
    for (std::size_t k = 0; k < n && !stepwise; ++k) out[k] = 0;
    if (n > 0 && applies) out[n - 1] += outcome;
    return n;
}

/// x_k += decay x_{k+1} from the last to the first, `after` behind the last. Four at a time, of which one waits.
inline void sum_to_go(double* x, std::size_t n, double decay, double after) {
    const double second = decay * decay, third = second * decay, fourth = second * second;
    for (; n % 4 != 0; --n) after = x[n - 1] += decay * after;
    for (; n > 0; n -= 4) {
        double* const d = x + n - 4;
        const double d23 = d[2] + decay * d[3], d01 = d[0] + decay * d[1], d123 = d[1] + decay * d23;
        d[3] += decay * after, d[2] = d23 + second * after, d[1] = d123 + third * after;
        d[0] = after = d01 + second * d23 + fourth * after;
    }
}

/// Writes rows of numbers that stand one behind the other, count[i] of them on the tokens of row i, which are 0 where that
/// is 0. Whitened: mean 0, deviation 1; numbers that are all equal, to their own size or to `size` if that is smaller,
/// become exactly 0. Returns the moments of what is written.
template <class T>
moments write_rows(const double* x, std::span<const std::size_t> count, bool whiten, variance_kind kind,
                   const mask_view& mask, const ragged_view<T>& out, double size) {
    std::size_t ends[] = {0, 0};
    for (const std::size_t n : count) ends[1] += n;
    moments m = token_moments(ragged_view<const double>::packed(x, span_of(ends)), {});
    const double variance = kind == variance_kind::bessel ? m.variance() : m.biased_variance();
    const double mean = whiten ? m.mean : 0;
    const double scale = !whiten                                                         ? 1
                         : is_constant(m.deviation(), std::fmin(size, std::abs(m.mean))) ? 0
                                                                                         : 1 / std::sqrt(variance);
    for (std::size_t i = 0; i < out.rows(); ++i) {
        if (count[i] == 0 || scale == 0)
            write_tokens(out, mask, i, [](std::size_t) { return 0; });
        else
            write_tokens(out, mask, i, [=](std::size_t k) { return (x[k] - mean) * scale; });
        if (count[i] == 0) m.merge({.count = static_cast<double>(token_count(out.length(i), mask, i)), .mean = mean});
        x += count[i];
    }
    m.mean = (m.mean - mean) * scale, m.squares *= scale * scale;
    return m;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
