#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/math/summary.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The scale of a critic's outputs: value = mean + deviation * output.
struct popart_scale {
    double mean = 0, deviation = 1;

    double normalize(double value) const noexcept { return (value - mean) / deviation; }
    double denormalize(double output) const noexcept { return mean + deviation * output; }
    /// Every element in place; masked slots are neither read nor written.
    template <class T>
    void normalize(const ragged_view<T>& value, const mask_view& mask) const {
        detail::check_same_shape_if_given(value, mask, "popart_scale::normalize", "mask");
        for_each_token(value, mask, [&](std::size_t b, std::size_t t) {
            T& v = value.row(b)[t];
            v = static_cast<T>(normalize(static_cast<double>(v)));
        });
    }
    template <class T>
    void denormalize(const ragged_view<T>& output, const mask_view& mask) const {
        detail::check_same_shape_if_given(output, mask, "popart_scale::denormalize", "mask");
        for_each_token(output, mask, [&](std::size_t b, std::size_t t) {
            T& v = output.row(b)[t];
            v = static_cast<T>(denormalize(static_cast<double>(v)));
        });
    }
};

/// What an update did to the scale, and what undoes its effect on the values.
struct popart_change {
    popart_scale before, after;

    /// Rescales the last layer (output = weight . features + bias), so that every denormalised value stays what it was.
    /// Formula: weight' = weight s / s';   bias' = (s bias + m - m') / s'.
    template <class T>
    void preserve_values(std::span<T> weight, T& bias) const noexcept {
        for (T& w : weight) w = static_cast<T>(static_cast<double>(w) * before.deviation / after.deviation);
        bias = static_cast<T>(after.normalize(before.denormalize(static_cast<double>(bias))));
    }
};

/// Pop-Art: a critic that learns normalised targets while the scale of the rewards drifts, as a discriminator's does.
/// Formula: mean and deviation of all returns so far, those of k steps ago weighted decay^k. Then normalise the targets,
///          train the critic's outputs on them, and denormalise the outputs wherever values are needed.
/// Shapes:  returns [B, length].
/// Units:   those of the rewards.
/// Degenerate: no unmasked token: nothing changes; returns that are all equal: the deviation stays what it was.
///          The first step's statistics count in full (rlax starts its averages at 0 and 1, and clips the deviation).
/// Errors:  shape_error; option_error; numeric_error for a return that is not finite, which leaves the state untouched.
/// Needs:   preserve_values on the head (and on nothing else) after each update, before the next forward.
/// Source:  van Hasselt et al. 2016, arXiv 1602.07714, algorithm 1; Hessel et al. 2018, arXiv 1809.04474.
struct popart {
    double decay = 0.99;  ///< in [0, 1), per step

    struct state {
        ema_moments returns;
        popart_scale scale;
        template <class Archive>
        void visit(Archive& a) {
            returns.visit(a);
            a("scale_mean", scale.mean), a("scale_deviation", scale.deviation);
        }
    };
    void check() const { detail::check_option(decay >= 0 && decay < 1, "popart", "decay", "in [0, 1)", decay); }

    /// Takes in one step's returns; the new scale is in s.scale.
    template <class T>
    popart_change operator()(state& s, const ragged_view<const T>& returns, const mask_view& mask) const {
        check();
        detail::check_same_shape_if_given(returns, mask, "popart", "mask");
        detail::check_finite(returns, mask, "popart", "returns");
        const popart_scale before = s.scale;
        const summary now = token_summary(returns, mask);
        if (now.count > 0) {
            s.returns.update(now, decay);
            s.scale.mean = s.returns.mean;
            const double deviation = std::sqrt(s.returns.variance);
            if (!is_constant(deviation, s.returns.mean)) s.scale.deviation = deviation;
        }
        return {before, s.scale};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
