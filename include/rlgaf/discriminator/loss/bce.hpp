#pragma once
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Binary cross-entropy on raw scores, with label smoothing: the discriminator of GAN, SeqGAN and GAIL.
/// Formula: L = mean_r [softplus(s_r) - (1 - smooth_real) s_r] + mean_f [softplus(s_f) - smooth_fake s_f].
/// Shapes:  real [n_real], fake [n_fake]; the sizes need not agree. terms.pairs serves the accuracy only, or is empty.
/// Adds:    d_real += (sigmoid(s_r) - 1 + smooth_real) / n_real;  d_fake += (sigmoid(s_f) - smooth_fake) / n_fake.
/// Units:   nats; the optimum without smoothing is the log density ratio log(expert / policy).
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error; option_error.
/// Source:  Goodfellow et al. 2014, arXiv 1406.2661; one-sided smoothing: Salimans et al. 2016, arXiv 1606.03498.
struct bce {
    using role = role::discriminator_loss;
    double smooth_real = 0;  ///< in [0, 0.5): the target of demonstrations is 1 - smooth_real
    double smooth_fake = 0;  ///< in [0, 0.5); 0 is better: above it, the optimum has the policy in its numerator

    void check() const {
        detail::check_option(smooth_real >= 0 && smooth_real < 0.5, "bce", "smooth_real", "in [0, 0.5)", smooth_real);
        detail::check_option(smooth_fake >= 0 && smooth_fake < 0.5, "bce", "smooth_fake", "in [0, 0.5)", smooth_fake);
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        discriminator_loss_stats stats = detail::begin_discriminator_loss(terms, d_real, d_fake, "bce", false);
        const auto side = [&](std::span<const T> score, double target, std::span<T> d_score) {
            for (std::size_t i = 0; i < score.size(); ++i) {
                const double s = static_cast<double>(score[i]), weight = 1 / static_cast<double>(score.size());
                stats.loss += weight * (softplus(s) - target * s);
                d_score[i] += static_cast<T>(weight * (sigmoid(s) - target));
            }
        };
        side(terms.real, 1 - smooth_real, d_real);
        side(terms.fake, smooth_fake, d_fake);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
