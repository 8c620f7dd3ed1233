#pragma once
#include "rlgaf/discriminator/pointwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Draws scores to 0, so that they do not drift where the loss sees differences only.
/// Formula: L = coefficient (mean_r s_r^2 + mean_f s_f^2) / 2.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real += coefficient s_r / n_real;  d_fake += coefficient s_f / n_fake.
/// Units:   squared scores.
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error; option_error.
/// Needs:   not to be counted twice: bradley_terry has the same term as score_penalty, per matched pair.
/// Source:  PRISM 2026, arXiv 2604.28123 (its code: 1e-3).
struct score_l2 {
    using role = role::discriminator_regularizer;
    static constexpr bool pointwise = true;
    double coefficient = 1e-3;  ///< >= 0

    void check() const { detail::check_not_negative(coefficient, "score_l2", "coefficient"); }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        const auto square = [c = static_cast<T>(coefficient)](T s) {
            return detail::score_term<T>{c * s * s / 2, c * s};
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "score_l2", square, square);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
