#pragma once
#include "rlgaf/discriminator/pointwise.hpp"
#include "rlgaf/math/f_divergence.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// f-GAN: the score estimates a divergence of your choice between expert and policy.
/// Formula: L = mean_f f*(g(s_f)) - mean_r g(s_r); f, its conjugate f* and g are in math/f_divergence.hpp.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real -= g'(s_r) / n_real;  d_fake += u(s_f) g'(s_f) / n_fake, u the density ratio that the score claims.
/// Units:   -L estimates D_f(expert || policy) from below. The optimum is f_divergence{}.score(expert / policy).
///          The policy's reward is f_divergence{}.conjugate(s).value, or .activation(s).value, which does not saturate.
/// At kinks: exponentials of s go on as straight lines above 20 and are constant below -20; alpha's power is constant
///          where |log u| is above 20. No gradient where constant; the limits count as inside.
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error; option_error.
/// Needs:   scores of kl, squared_hellinger and alpha that stay small: their gradients grow exponentially. pearson
///          pushes samples that score below -2, where no ratio lies, up.
/// Source:  Nowozin, Cseke, Tomioka 2016, arXiv 1606.00709.
struct f_gan {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    divergence kind = divergence::jensen_shannon;
    double alpha = 0.5;  ///< divergence::alpha only: in [0.01, 10], at least 0.01 from 1

    void check() const { f_divergence{kind, alpha}.check("f_gan"); }

    /// The optimal score where expert and policy are equally dense.
    double neutral_score() const { return f_divergence{kind, alpha}.score(1); }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        return with_f_divergence<T>(kind, alpha, [&](auto activation, auto conjugate) {
            const auto paid = [activation](T s) {
                const f_term<T> g = activation(s);
                return detail::score_term<T>{-g.value, -g.slope};
            };
            return detail::pointwise_loss(terms, d_real, d_fake, "f_gan", paid, conjugate);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
