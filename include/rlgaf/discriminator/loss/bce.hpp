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
            const double weight = 1 / static_cast<double>(score.size());
            detail::lane_sum total;
            double loss[detail::block_tokens];
            for (std::size_t first = 0; first < score.size(); first += detail::block_tokens) {
                const std::size_t rest = score.size() - first;
                const std::size_t n = rest < detail::block_tokens ? rest : detail::block_tokens;
                const T* const x = score.data() + first;
                T* const d = d_score.data() + first;
                for (std::size_t i = 0; i < n; ++i) {
                    const double s = static_cast<double>(x[i]);
                    loss[i] = softplus(s) - target * s;
                    d[i] += static_cast<T>(weight * (sigmoid(s) - target));
                }
                total.add(loss, n);
            }
            if (!score.empty()) stats.loss += weight * total.total();
        };
        side(terms.real, 1 - smooth_real, d_real);
        side(terms.fake, smooth_fake, d_fake);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
