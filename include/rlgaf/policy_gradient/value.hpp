#pragma once
#include "rlgaf/math/summary.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What a value loss reads: [B, length] each, all of the same shape. Only value receives a gradient.
template <class T>
struct value_terms {
    ragged_view<const T> value;        ///< of the state before each token
    ragged_view<const T> old_value{};  ///< at the time of the rollout: value_rule::clipped
    ragged_view<const T> returns{};    ///< targets, not whitened
    mask_view mask{};                  ///< optional

    value_terms slice(std::size_t first, std::size_t count) const {
        const auto cut = [&](const auto& v) { return v.empty() ? v : v.slice(first, count); };
        return {cut(value), cut(old_value), cut(returns), cut(mask)};
    }
};

/// Sums over unmasked tokens, so that the parts of a step add up.
struct value_loss_stats {
    double loss = 0;            ///< the weighted sum
    double tokens = 0;          ///< unmasked ones
    double clipped = 0;         ///< tokens whose clipped error is the larger one: they have no gradient
    moments returns, residual;  ///< of the targets, and of target - value

    double explained_variance() const { return rlgaf::explained_variance(returns, residual); }
    void merge(const value_loss_stats& other) {
        loss += other.loss, tokens += other.tokens, clipped += other.clipped;
        returns.merge(other.returns), residual.merge(other.residual);
    }
};

enum class value_rule {
    squared,  ///< the mean of the returns is what it learns
    clipped,  ///< PPO's: no gradient once the value has left old_value +- clip and its error is the larger one for it
    huber     ///< squared near the target, linear beyond huber_width: the odd huge return does not dominate
};

namespace detail {
/// The error of a value that may move at most `clip` away from its old one.
inline double clipped_error(double value, double old, double target, double clip) noexcept {
    return (value < old - clip ? old - clip : value > old + clip ? old + clip : value) - target;
}
}  // namespace detail

/// What a critic learns from.
/// Formula: e = value - returns;  L = coefficient sum of w_i l_it over unmasked tokens;
///          squared: l = e^2 / 2;   clipped: l = max(e^2, (clamp(value, old_value -+ clip) - returns)^2) / 2;
///          huber: l = a^2 / 2 + huber_width (|e| - a), a = min(|e|, huber_width).
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_value += coefficient w e; clipped: 0 where the clipped error is the larger; huber: e within +-huber_width.
/// Units:   those of the rewards: clip too.
/// At kinks: errors of equal size count as not clipped.
/// Errors:  shape_error; option_error. No allocation.
/// Source:  Schulman et al. 2017, arXiv 1707.06347, equation 9; clipped: the code of OpenAI's baselines; huber: Huber 1964.
struct value_loss {
    static constexpr bool row_separable = true;
    value_rule rule = value_rule::clipped;
    double coefficient = 1;  ///< finite, >= 0; beside a policy with the same optimiser 0.5 (cleanrl) or 0.1 (TRL)
    double clip = 0.2;       ///< > 0; TRL and cleanrl 0.2, verl and OpenRLHF 0.5
    double huber_width = 1;  ///< > 0

    void check() const {
        detail::check_option(coefficient >= 0 && coefficient < std::numeric_limits<double>::infinity(), "value_loss",
                             "coefficient", "finite, 0 or positive", coefficient);
        detail::check_option(clip > 0, "value_loss", "clip", "positive", clip);
        detail::check_option(huber_width > 0, "value_loss", "huber_width", "positive", huber_width);
    }

    template <class T>
    value_loss_stats operator()(const value_terms<T>& terms, std::span<const double> row_weight,
                                const ragged_view<T>& d_value) const {
        check();
        detail::check_size(row_weight.size(), terms.value.rows(), "value_loss", "row_weight");
        detail::check_same_shape(terms.value, d_value, "value_loss", "gradient");
        detail::check_same_shape(terms.value, terms.returns, "value_loss", "terms.returns");
        detail::check_same_shape_if_given(terms.value, terms.mask, "value_loss", "terms.mask");
        switch (rule) {
            case value_rule::squared:
                return apply<3>(
                    terms, row_weight, d_value,
                    [](T e, T) {
                        return pieces<T>{T(0.5) * e * e, e};
                    },
                    terms.value);
            case value_rule::huber: {
                const T width = static_cast<T>(huber_width);
                return apply<3>(
                    terms, row_weight, d_value,
                    [width](T e, T) {
                        const T near = detail::held_within(e, -width, width);
                        return pieces<T>{near * (e - T(0.5) * near), near};
                    },
                    terms.value);
            }
            case value_rule::clipped:
                break;
        }
        detail::check_same_shape(terms.value, terms.old_value, "value_loss", "terms.old_value");
        const T reach = static_cast<T>(clip);
        return apply<4>(
            terms, row_weight, d_value,
            [reach](T e, T apart) {  // apart: value - old_value
                const T far = e + (detail::held_within(apart, -reach, reach) - apart);
                const T here = e * e, there = far * far, clipped = detail::choose(there > here, T{1}, T{0});
                return pieces<T>{T(0.5) * detail::choose(here >= there, here, there), e * (1 - clipped), clipped};
            },
            terms.old_value);
    }

private:
    template <class T>
    struct pieces {
        T loss, slope, clipped = 0;
    };

    /// formula(error, value - other) gives the pieces. Sums: 4 to count what is clipped, 3 where nothing ever is.
    template <std::size_t Sums, class T, class Formula>
    value_loss_stats apply(const value_terms<T>& terms, std::span<const double> row_weight,
                           const ragged_view<T>& d_value, Formula&& formula, const ragged_view<const T>& other) const {
        const T scale = static_cast<T>(coefficient);
        const auto sums = detail::map_tokens<Sums>(
            d_value, terms.mask, row_weight,
            [&formula, scale](T w, T value, T target, T old) {
                const T e = value - target;
                const pieces<T> p = formula(e, value - old);
                detail::token_term<Sums, T> term{w * scale * p.slope, {w * scale * p.loss, target, e}};
                if constexpr (Sums == 4) term.sum[3] = p.clipped;
                return term;
            },
            terms.value, terms.returns, other);
        value_loss_stats stats;
        stats.loss = sums.sum[0], stats.tokens = sums.tokens;
        if constexpr (Sums == 4) stats.clipped = sums.sum[3];
        if (sums.tokens == 0) return stats;
        stats.returns.count = stats.residual.count = sums.tokens;
        stats.returns.mean = sums.sum[1] / sums.tokens;
        stats.residual.mean = -sums.sum[2] / sums.tokens;
        const T a = static_cast<T>(stats.returns.mean), b = static_cast<T>(stats.residual.mean);  // as near as T comes
        const auto spread = detail::sum_tokens<2>(
            terms.mask,
            [a, b](T value, T target) {
                const T x = target - a, y = target - value - b;
                return detail::token_numbers<2, T>{{x * x, y * y}};
            },
            terms.value, terms.returns);
        // std::fmax would turn NaN into 0
        const auto squares = [&](double about, double near, double mean) {
            const double rest = about - sums.tokens * (mean - near) * (mean - near);
            return rest < 0 ? 0 : rest;
        };
        stats.returns.squares = squares(spread.sum[0], static_cast<double>(a), stats.returns.mean);
        stats.residual.squares = squares(spread.sum[1], static_cast<double>(b), stats.residual.mean);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
