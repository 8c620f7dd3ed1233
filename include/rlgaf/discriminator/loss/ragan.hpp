#pragma once
#include "rlgaf/discriminator/relativistic_average.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Relativistic average GAN: a demonstration should score above the mean sample, a sample below the mean demonstration.
/// Formula: L = mean_i softplus(-(real[i] - m_fake)) + mean_j softplus(fake[j] - m_real), m_fake and m_real the means
///          of all samples and of all demonstrations; or of the samples that share the demonstration, and its score.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs is needed per prompt; else it serves the accuracy, or is empty.
/// Adds:    with x_i = real[i] - m_fake, y_j = fake[j] - m_real:
///          d_real[i] -= (sigmoid(-x_i) + mean_j sigmoid(y_j)) / n_real,
///          d_fake[j] += (sigmoid(y_j) + mean_i sigmoid(-x_i)) / n_fake; the means carry gradient too.
/// Units:   nats. Scores are fixed only up to one constant; per prompt, one a prompt.
/// Degenerate: a side without rows: loss 0, no gradient. Per prompt, demonstrations without samples stay out.
/// Errors:  shape_error. No allocation once `work` has grown.
/// Needs:   per prompt, one demonstration a prompt: terms.pairs knows no others.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RaSGAN).
struct ragan {
    using role = role::discriminator_loss;
    bool per_prompt = false;  ///< true where scores of different prompts are not to be compared

    void check() const {}
    bool compares_prompts() const { return !per_prompt; }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                                        workspace& work) const {
        return detail::relativistic_average(terms, d_real, d_fake, per_prompt, work, "ragan", []<class U>(U x) {
            const auto at = softplus_and_slope(-x);
            return detail::loss_slope<U>{at.value, -at.slope};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
