#pragma once
#include "rlgaf/discriminator/pointwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Hinge: demonstrations are pushed above 1 and samples below -1, and left alone beyond.
/// Formula: L = mean_r max(0, 1 - s_r) + mean_f max(0, 1 + s_f).
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real -= [s_r < 1] / n_real;  d_fake += [s_f > -1] / n_fake.
/// Units:   margins; the optimum is sign(expert - policy).
/// At kinks: a score of exactly 1 or -1 on its own side has no gradient.
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error.
/// Source:  Lim and Ye 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957.
struct hinge {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    void check() const {}

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        const auto beyond = [](double sign) {
            return [to = static_cast<T>(sign)](T s) {
                const T short_by = 1 + to * s;
                return detail::score_term<T>{detail::choose(short_by <= 0, T{0}, short_by),
                                             detail::choose(short_by <= 0, T{0}, to)};
            };
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "hinge", beyond(-1), beyond(1));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
