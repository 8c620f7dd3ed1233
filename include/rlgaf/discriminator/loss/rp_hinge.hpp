#pragma once
#include "rlgaf/discriminator/matched_pairs.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Relativistic hinge: a demonstration should score at least `margin` above each sample it is matched with.
/// Formula: L = mean over samples j of max(0, margin - delta_j),   delta_j = real[real_of_fake[j]] - fake[j].
/// Shapes:  real [n_real], fake [n_fake]; K samples may share a demonstration.
/// Adds:    where delta_j < margin: d_real[real_of_fake[j]] -= 1 / n_fake, d_fake[j] += 1 / n_fake.
/// Units:   those of the scores, which are fixed only up to a constant a prompt.
/// At kinks: delta_j = margin: no gradient.
/// Degenerate: no samples: loss 0, no gradient.
/// Errors:  shape_error; option_error.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (relativistic paired form), with the hinge of Lim and Ye 2017,
///          arXiv 1705.02894.
struct rp_hinge {
    using role = role::discriminator_loss;
    double margin = 1;  ///< > 0: sets the scale of the scores

    void check() const {
        detail::check_option(margin > 0 && margin < std::numeric_limits<double>::infinity(), "rp_hinge", "margin",
                             "a positive number", margin);
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        return detail::map_pairs(terms, d_real, d_fake, "rp_hinge", [m = static_cast<T>(margin)](T r, T f) {
            const T missing = m - (r - f);
            return detail::of_gap(detail::choose(missing <= 0, T{0}, missing),
                                  detail::choose(missing <= 0, T{0}, T{-1}));
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
