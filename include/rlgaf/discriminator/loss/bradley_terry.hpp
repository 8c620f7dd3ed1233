#pragma once
#include "rlgaf/discriminator/matched_pairs.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pairwise logistic loss: each sample should score below the demonstration it is matched with (relativistic GAN, GAD).
/// Formula: L = mean over samples j of l(delta_j - margin) + centering (s_r + s_f)^2
///          + score_penalty (s_r^2 + s_f^2) / 2,   delta_j = s_r - s_f, s_r = real[real_of_fake[j]], s_f = fake[j];
///          l(x) = softplus(-x), or with noise -log p, p = noise / 2 + (1 - noise) sigmoid(x).
/// Shapes:  real [n_real], fake [n_fake]; K samples may share a demonstration.
/// Adds:    d_real, d_fake of the same sizes, 1 / n_fake included; l' = -sigmoid(-x), or with noise
///          -(1 - noise) sigmoid(x) sigmoid(-x) / p, which is small for pairs that look mislabelled.
/// Units:   nats. Scores are fixed only up to a constant a prompt unless centering or score_penalty is on.
/// Degenerate: no samples: loss 0, no gradient.
/// Errors:  shape_error; option_error.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RpGAN); Ye et al. 2025, arXiv 2511.10643 (GAD);
///          margin: Touvron et al. 2023, arXiv 2307.09288; centering: Eisenstein et al. 2023, arXiv 2312.09244;
///          noise: Christiano et al. 2017, arXiv 1706.03741, section 2.2.3.
struct bradley_terry {
    using role = role::discriminator_loss;
    double margin = 0;            ///< finite
    double centering = 0;         ///< >= 0; 0.01 is usual
    double score_penalty = 1e-3;  ///< >= 0
    double noise = 0;             ///< in [0, 1): share of pairs whose label is a coin toss; 0.1 is usual

    void check() const {
        detail::check_option(std::abs(margin) < std::numeric_limits<double>::infinity(), "bradley_terry", "margin",
                             "a finite number", margin);
        detail::check_not_negative(centering, "bradley_terry", "centering");
        detail::check_not_negative(score_penalty, "bradley_terry", "score_penalty");
        detail::check_option(noise >= 0 && noise < 1, "bradley_terry", "noise", "in [0, 1)", noise);
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        const T m = static_cast<T>(margin), pull = static_cast<T>(centering), penalty = static_cast<T>(score_penalty);
        const auto with_penalties = [=](T r, T f, T loss, T push) {
            return detail::matched_slopes<T>{loss + pull * (r + f) * (r + f) + penalty * (r * r + f * f) / 2,
                                             -push + 2 * pull * (r + f) + penalty * r,
                                             push + 2 * pull * (r + f) + penalty * f};
        };
        if (noise == 0)
            return detail::map_pairs(terms, d_real, d_fake, "bradley_terry", [=](T r, T f) {
                const auto at = softplus_and_slope(m - (r - f));
                return with_penalties(r, f, at.value, at.slope);
            });
        // p = sigmoid(-x) (noise / 2) (1 + exp(x + odds)): no logarithm to call
        const double log_half_noise = std::log(noise) - std::log(2.0);  // noise / 2 may be 0
        const T log_half = static_cast<T>(log_half_noise);
        const T odds = static_cast<T>(std::log(1 - noise / 2) - log_half_noise);
        return detail::map_pairs(terms, d_real, d_fake, "bradley_terry", [=](T r, T f) {
            const auto at = softplus_and_slope(r - f - m), apart = softplus_and_slope(r - f - m + odds);
            return with_penalties(r, f, at.value - apart.value - log_half, apart.slope - at.slope);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
