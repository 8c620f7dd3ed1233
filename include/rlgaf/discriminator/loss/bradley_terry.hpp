#pragma once
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pairwise logistic loss: each sample should score below the demonstration it is matched with (relativistic GAN, GAD).
/// Formula: L = mean over samples j of softplus(-(delta_j - margin)) + centering (s_r + s_f)^2
///          + score_penalty (s_r^2 + s_f^2) / 2,   delta_j = s_r - s_f, s_r = real[real_of_fake[j]], s_f = fake[j].
/// Shapes:  real [n_real], fake [n_fake]; K samples may share a demonstration.
/// Adds:    d_real, d_fake of the same sizes, 1 / n_fake included.
/// Units:   nats. Scores are fixed only up to a constant a prompt unless centering or score_penalty is on.
/// Degenerate: no samples: loss 0, no gradient.
/// Errors:  shape_error; option_error.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RpGAN); Ye et al. 2025, arXiv 2511.10643 (GAD);
///          margin: Touvron et al. 2023, arXiv 2307.09288; centering: Eisenstein et al. 2023, arXiv 2312.09244.
struct bradley_terry {
    using role = role::discriminator_loss;
    double margin = 0;            ///< finite
    double centering = 0;         ///< >= 0; 0.01 is usual
    double score_penalty = 1e-3;  ///< >= 0

    void check() const {
        detail::check_option(std::abs(margin) < std::numeric_limits<double>::infinity(), "bradley_terry", "margin",
                             "a finite number", margin);
        detail::check_option(centering >= 0, "bradley_terry", "centering", "0 or positive", centering);
        detail::check_option(score_penalty >= 0, "bradley_terry", "score_penalty", "0 or positive", score_penalty);
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        discriminator_loss_stats stats = detail::begin_discriminator_loss(terms, d_real, d_fake, "bradley_terry", true);
        const std::size_t samples = terms.fake.size();
        const double weight = 1 / static_cast<double>(samples);
        detail::lane_sum total;
        double real[detail::block_tokens], loss[detail::block_tokens], slope[detail::block_tokens];
        for (std::size_t first = 0; first < samples; first += detail::block_tokens) {
            const std::size_t n = samples - first < detail::block_tokens ? samples - first : detail::block_tokens;
            const std::uint32_t* const real_of = terms.pairs.real_of_fake.data() + first;
            const T* const fake = terms.fake.data() + first;
            T* const d = d_fake.data() + first;
            for (std::size_t j = 0; j < n; ++j) real[j] = static_cast<double>(terms.real[real_of[j]]);
            for (std::size_t j = 0; j < n; ++j) {
                const double r = real[j], f = static_cast<double>(fake[j]), gap = r - f - margin, push = sigmoid(-gap);
                loss[j] = softplus(-gap) + centering * (r + f) * (r + f) + score_penalty * (r * r + f * f) / 2;
                slope[j] = weight * (-push + 2 * centering * (r + f) + score_penalty * r);
                d[j] += static_cast<T>(weight * (push + 2 * centering * (r + f) + score_penalty * f));
            }
            for (std::size_t j = 0; j < n; ++j) d_real[real_of[j]] += static_cast<T>(slope[j]);
            total.add(loss, n);
        }
        if (samples > 0) stats.loss = weight * total.total();
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
