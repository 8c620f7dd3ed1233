#pragma once
#include "rlgaf/discriminator/pointwise.hpp"
#include "rlgaf/math/f_divergence.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Total variation: a Wasserstein critic whose scores are squashed, so that it needs no bound on its slope.
/// Formula: L = mean_f tanh(s_f) - mean_r tanh(s_r).
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real -= (1 - tanh(s_r)^2) / n_real;  d_fake += (1 - tanh(s_f)^2) / n_fake.
/// Units:   -L estimates the sum of |expert - policy| from below, in [0, 2]. The optimum is +-infinity.
/// Degenerate: saturated scores have no gradient, on the wrong side either: a discriminator that starts far off does
///          not recover. A side without rows contributes nothing.
/// Errors:  shape_error.
/// Source:  Nie, Narodytska, Patel 2019, "RelGAN", ICLR, option "tv" of its code; twice f_gan's total_variation.
struct total_variation {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    void check() const {}

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        const auto times = [](double sign) {
            return [to = static_cast<T>(sign)](T s) {
                const f_term<T> squashed = detail::hyperbolic_tangent(s);
                return detail::score_term<T>{to * squashed.value, to * squashed.slope};
            };
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "total_variation", times(-1), times(1));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
