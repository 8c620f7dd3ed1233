#pragma once
#include "rlgaf/discriminator/pointwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Binary cross-entropy on raw scores, with label smoothing: the discriminator of GAN, SeqGAN and GAIL. The minimax and
/// the non-saturating game train this same discriminator; they differ in the policy's reward only.
/// Formula: L = mean_r [softplus(s_r) - (1 - smooth_real) s_r] + mean_f [softplus(s_f) - smooth_fake s_f].
/// Shapes:  real [n_real], fake [n_fake]; the sizes need not agree. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real += (sigmoid(s_r) - 1 + smooth_real) / n_real;  d_fake += (sigmoid(s_f) - smooth_fake) / n_fake.
/// Units:   nats; the optimum without smoothing is the log density ratio log(expert / policy).
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error; option_error.
/// Source:  Goodfellow et al. 2014, arXiv 1406.2661; one-sided smoothing: Salimans et al. 2016, arXiv 1606.03498.
struct bce {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    double smooth_real = 0;  ///< in [0, 0.5): the target of demonstrations is 1 - smooth_real
    double smooth_fake = 0;  ///< in [0, 0.5); 0 is better: above it, the optimum has the policy in its numerator

    void check() const {
        detail::check_option(smooth_real >= 0 && smooth_real < 0.5, "bce", "smooth_real", "in [0, 0.5)", smooth_real);
        detail::check_option(smooth_fake >= 0 && smooth_fake < 0.5, "bce", "smooth_fake", "in [0, 0.5)", smooth_fake);
    }

    /// The optimal score where expert and policy are equally dense.
    double neutral_score() const { return std::log((1 - smooth_real + smooth_fake) / (1 + smooth_real - smooth_fake)); }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        const auto towards = [](double target) {
            return [t = static_cast<T>(target)](T s) {
                const auto tail = tail_of(s);
                const T missed = detail::choose(s < 0, t, 1 - t);  // of the target, on the other side of 0
                return detail::score_term<T>{tail.value + missed * std::abs(s),
                                             detail::choose(s < 0, T{-1}, T{1}) * (missed - tail.share)};
            };
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "bce", towards(1 - smooth_real), towards(smooth_fake));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
