#pragma once
#include "rlgaf/discriminator/relativistic_average.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Relativistic average hinge: a demonstration should score at least 1 above the mean sample, a sample at least 1 below
/// the mean demonstration.
/// Formula: L = mean_i max(0, 1 - x_i) + mean_j max(0, 1 - y_j), x_i = real[i] - m_fake, y_j = m_real - fake[j], m_fake
///          and m_real the means of all samples and of all demonstrations; or of the samples that share the
///          demonstration, and that one's score.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs is needed per prompt; else it serves the accuracy, or is empty.
/// Adds:    d_real[i] -= ([x_i < 1] + mean_j [y_j < 1]) / n_real,
///          d_fake[j] += ([y_j < 1] + mean_i [x_i < 1]) / n_fake; the means carry gradient too.
/// Units:   those of the scores, which are fixed only up to one constant; per prompt, one a prompt.
/// At kinks: x_i or y_j equal to 1: no gradient from it.
/// Degenerate: a side without rows: loss 0, no gradient. Per prompt, demonstrations without samples stay out.
/// Errors:  shape_error. No allocation once `work` has grown.
/// Needs:   per prompt, one demonstration a prompt: terms.pairs knows no others.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RaHingeGAN).
struct ra_hinge {
    using role = role::discriminator_loss;
    bool per_prompt = false;  ///< true where scores of different prompts are not to be compared

    void check() const {}
    bool compares_prompts() const { return !per_prompt; }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                                        workspace& work) const {
        return detail::relativistic_average(terms, d_real, d_fake, per_prompt, work, "ra_hinge", []<class U>(U x) {
            return detail::loss_slope<U>{detail::choose(x >= 1, U{0}, 1 - x), detail::choose(x >= 1, U{0}, U{-1})};
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
