#pragma once
#include "rlgaf/discriminator/matched_pairs.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Relativistic least squares: a demonstration should score `margin` above each sample it is matched with, not more.
/// Formula: L = mean over samples j of (delta_j - margin)^2,   delta_j = real[real_of_fake[j]] - fake[j].
/// Shapes:  real [n_real], fake [n_fake]; K samples may share a demonstration.
/// Adds:    with g_j = 2 (delta_j - margin) / n_fake: d_real[real_of_fake[j]] += g_j, d_fake[j] -= g_j.
/// Units:   squared scores, which are fixed only up to a constant a prompt.
/// Degenerate: no samples: loss 0, no gradient.
/// Errors:  shape_error; option_error.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (relativistic paired form), with the squares of Mao et al. 2016,
///          arXiv 1611.04076.
struct rp_ls {
    using role = role::discriminator_loss;
    double margin = 1;  ///< > 0: sets the scale of the scores

    void check() const {
        detail::check_option(margin > 0 && margin < std::numeric_limits<double>::infinity(), "rp_ls", "margin",
                             "a positive number", margin);
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        return detail::map_pairs(terms, d_real, d_fake, "rp_ls", [m = static_cast<T>(margin)](T r, T f) {
            const T x = r - f - m;
            return detail::of_gap(x * x, 2 * x);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
