#pragma once
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pairwise logistic loss over all pairs of a demonstration and a sample, for batches whose rows answer one question or
/// none. Pairs within a prompt are what bradley_terry takes.
/// Formula: L = mean over i, j of softplus(-(real[i] - fake[j] - margin)).
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
/// Adds:    d_real[i] -= mean over j of sigmoid(-(real[i] - fake[j] - margin)) / n_real;
///          d_fake[j] += mean over i of the same / n_fake.
/// Units:   nats. Scores are fixed only up to a constant of the whole batch.
/// Degenerate: a side without rows: loss 0, no gradient.
/// Errors:  shape_error; option_error. Time n_real n_fake, no memory.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RpGAN over all pairs); Bradley and Terry 1952.
struct bradley_terry_all_pairs {
    using role = role::discriminator_loss;
    double margin = 0;  ///< finite

    void check() const {
        detail::check_option(std::abs(margin) < std::numeric_limits<double>::infinity(), "bradley_terry_all_pairs",
                             "margin", "a finite number", margin);
    }
    bool compares_prompts() const { return true; }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        discriminator_loss_stats stats =
            detail::begin_discriminator_loss(terms, d_real, d_fake, "bradley_terry_all_pairs", false);
        if (terms.real.empty() || terms.fake.empty()) return stats;
        const double pairs = static_cast<double>(terms.real.size()) * static_cast<double>(terms.fake.size());
        // sign: 1 from the side of a demonstration, -1 from that of a sample
        const auto side = [&](double sign, std::span<const T> own, std::span<const T> others, std::span<T> d) {
            detail::lane_sum total;
            const T m = static_cast<T>(margin), way = static_cast<T>(sign);
            for (std::size_t i = 0; i < own.size(); ++i) {
                detail::lane_sum pushed;
                T loss[detail::block_tokens], push[detail::block_tokens];
                detail::for_each_block(others.size(), [&](const std::size_t first, const std::size_t n) {
                    const T* const other = others.data() + first;
                    for (std::size_t j = 0; j < n; ++j) {
                        const auto at = softplus_and_slope(m - way * (own[i] - other[j]));
                        loss[j] = at.value;
                        push[j] = at.slope;
                    }
                    total.add(loss, n), pushed.add(push, n);
                });
                d[i] += static_cast<T>(-sign * pushed.total() / pairs);
            }
            return total.total() / pairs;
        };
        stats.loss = side(1, terms.real, terms.fake, d_real);
        side(-1, terms.fake, terms.real, d_fake);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
