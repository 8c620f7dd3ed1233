#pragma once
#include "rlgaf/discriminator/pointwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The Wasserstein critic: mean score of samples minus mean score of demonstrations.
/// Formula: L = mean_f s_f - mean_r s_r.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real -= 1 / n_real;  d_fake += 1 / n_fake.
/// Units:   those of the score, which is fixed only up to a constant. For a critic with slopes of at most 1, -L
///          estimates the earth mover's distance from below.
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error.
/// Needs:   something that bounds the critic's slope (weight_clip, gradient_penalty, spectral_norm): without it the
///          loss has no minimum.
/// Source:  Arjovsky, Chintala, Bottou 2017, arXiv 1701.07875.
struct wgan {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    void check() const {}

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        const auto times = [](double sign) {
            return [to = static_cast<T>(sign)](T s) { return detail::score_term<T>{to * s, to}; };
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "wgan", times(-1), times(1));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
