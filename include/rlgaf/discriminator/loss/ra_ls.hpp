#pragma once
#include "rlgaf/discriminator/relativistic_average.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Relativistic average least squares: a demonstration should score 1 above the mean sample, a sample 1 below the mean
/// demonstration.
/// Formula: L = mean_i (real[i] - m_fake - 1)^2 + mean_j (fake[j] - m_real + 1)^2, m_fake and m_real the means of all
///          samples and of all demonstrations; or of the samples that share the demonstration, and that one's score.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs is needed per prompt; else it serves the accuracy, or is empty.
/// Adds:    d_real[i] += 2 (real[i] - m_fake - 1 - (m_fake - m_real + 1)) / n_real,
///          d_fake[j] += 2 (fake[j] - m_real + 1 - (m_real - m_fake - 1)) / n_fake; the means carry gradient too.
/// Units:   squared scores, which are fixed only up to one constant; per prompt, one a prompt.
/// Degenerate: a side without rows: loss 0, no gradient. Per prompt, demonstrations without samples stay out.
/// Errors:  shape_error. No allocation once `work` has grown.
/// Needs:   per prompt, one demonstration a prompt: terms.pairs knows no others.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RaLSGAN).
struct ra_ls {
    using role = role::discriminator_loss;
    bool per_prompt = false;  ///< true where scores of different prompts are not to be compared

    void check() const {}
    bool compares_prompts() const { return !per_prompt; }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                                        workspace& work) const {
        return detail::relativistic_average(terms, d_real, d_fake, per_prompt, work, "ra_ls", []<class U>(U x) {
            return detail::loss_slope<U>{(x - 1) * (x - 1), 2 * (x - 1)};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
