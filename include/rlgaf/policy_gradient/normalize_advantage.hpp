#pragma once
#include "rlgaf/math/moments.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Advantages of mean 0 and deviation 1 over what one optimiser step sees: a minibatch, or all rows of a round.
/// Formula: A <- (A - mean) / (deviation + epsilon) over unmasked tokens; keep_mean: A / (deviation + epsilon).
/// Shapes:  advantage [B, length], in place; masked slots are neither read nor written. Returns the moments before.
/// Degenerate: advantages that are all equal, or a single one: 0 (cleanrl: NaN for one); with keep_mean they stay.
/// Errors:  shape_error; option_error. No allocation.
/// Needs:   a second thought where rows earned no reward: their advantage of 0 counts as any other and is moved too.
/// Source:  cleanrl's PPO (norm_adv; epsilon 1e-8); a study of it: Andrychowicz et al. 2020, arXiv 2006.05990.
struct normalize_advantage {
    bool keep_mean = false;  ///< only scale: the sign of an advantage stays
    double epsilon = 0;      ///< finite, >= 0, added to the deviation
    variance_kind variance = variance_kind::bessel;

    void check() const {
        detail::check_option(epsilon >= 0 && epsilon < std::numeric_limits<double>::infinity(), "normalize_advantage",
                             "epsilon", "finite, 0 or positive", epsilon);
    }

    template <class T>
    moments operator()(const ragged_view<T>& advantage, const mask_view& mask) const {
        check();
        detail::check_same_shape_if_given(advantage, mask, "normalize_advantage", "mask");
        const moments m = token_moments(ragged_view<const T>(advantage), mask);
        const double deviation = std::sqrt(variance == variance_kind::bessel ? m.variance() : m.biased_variance());
        const bool constant = m.count < 2 || is_constant(deviation, m.mean);
        if (constant && keep_mean) return m;
        const double scale = constant ? 0 : 1 / (deviation + epsilon), shift = keep_mean ? 0 : m.mean;
        for_each_token(advantage, mask, [&](std::size_t b, std::size_t t) {
            T& a = advantage.row(b)[t];
            a = static_cast<T>((static_cast<double>(a) - shift) * scale);
        });
        return m;
    }
};

/// With cleanrl's options but its epsilon.
template <class T>
moments normalize_minibatch(const ragged_view<T>& advantage, const mask_view& mask) {
    return normalize_advantage{}(advantage, mask);
}

}  // namespace rlgaf::inline RLGAF_ABI
