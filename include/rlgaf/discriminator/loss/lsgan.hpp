#pragma once
#include "rlgaf/discriminator/pointwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Least squares: scores are drawn to one target for demonstrations and to another for samples.
/// Formula: L = mean_r (s_r - b)^2 / 2 + mean_f (s_f - a)^2 / 2, b = real_target, a = fake_target.
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real += (s_r - b) / n_real;  d_fake += (s_f - a) / n_fake.
/// Units:   targets. The optimum is (b expert + a policy) / (expert + policy). The policy's own target c belongs to its
///          reward -(s_f - c)^2 / 2: with (a, b) = (0, 1) c is 1; (a, b, c) = (-1, 1, 0) descends Pearson's chi squared
///          between expert + policy and twice the policy.
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error; option_error.
/// Source:  Mao et al. 2016, arXiv 1611.04076. Code without the halves has twice the loss and the gradient.
struct lsgan {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    double real_target = 1;  ///< finite, above fake_target
    double fake_target = 0;  ///< finite; usual: 0, or -1

    void check() const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(std::abs(fake_target) < infinity, "lsgan", "fake_target", "a finite number", fake_target);
        detail::check_option(real_target > fake_target && real_target < infinity, "lsgan", "real_target",
                             "a finite number above fake_target", real_target);
    }

    /// The optimal score where expert and policy are equally dense.
    double neutral_score() const { return (real_target + fake_target) / 2; }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        const auto towards = [](double target) {
            return [t = static_cast<T>(target)](T s) { return detail::score_term<T>{(s - t) * (s - t) / 2, s - t}; };
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "lsgan", towards(real_target), towards(fake_target));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
