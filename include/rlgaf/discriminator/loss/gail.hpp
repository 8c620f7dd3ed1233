#pragma once
#include "rlgaf/discriminator/pointwise.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Binary cross-entropy minus an entropy bonus on the discriminator's own guesses, which keeps scores small and so
/// delays saturation.
/// Formula: L = mean_r [softplus(-s_r) - c H(s_r)] + mean_f [softplus(s_f) - c H(s_f)], c = entropy_coefficient,
///          H(s) = softplus(s) - s sigmoid(s), the entropy of a coin that shows "expert" with sigmoid(s).
/// Shapes:  real [n_real], fake [n_fake]. terms.pairs serves the accuracy only, or is empty.
///          Weights a row in place of the means: terms.real_weight, terms.fake_weight.
/// Adds:    d_real += (sigmoid(s_r) - 1 + c s_r v_r) / n_real;  d_fake += (sigmoid(s_f) + c s_f v_f) / n_fake;
///          v = sigmoid(s) sigmoid(-s).
/// Units:   nats. Where expert and policy are equally dense the optimum is 0; elsewhere nearer to it than bce's.
/// Degenerate: a side without rows contributes nothing.
/// Errors:  shape_error; option_error.
/// Source:  Ho and Ermon 2016, arXiv 1606.03476; the bonus is in its authors' code (openai/imitation, 1e-3), where the
///          expert is the low class: here it is high.
struct gail {
    using role = role::discriminator_loss;
    static constexpr bool pointwise = true;
    double entropy_coefficient = 1e-3;  ///< in [0, 1]

    void check() const {
        detail::check_option(entropy_coefficient >= 0 && entropy_coefficient <= 1, "gail", "entropy_coefficient",
                             "in [0, 1]", entropy_coefficient);
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        const auto towards = [c = static_cast<T>(entropy_coefficient)](double target) {
            return [c, t = static_cast<T>(target)](T s) {
                const T size = std::abs(s);
                const auto tail = tail_of(s);
                const T missed = detail::choose(s < 0, t, 1 - t);  // of the target, on the other side of 0
                const T slope = missed - tail.share + c * size * tail.share * (1 - tail.share);
                return detail::score_term<T>{(1 - c) * tail.value + size * (missed - c * tail.share),
                                             detail::choose(s < 0, T{-1}, T{1}) * slope};
            };
        };
        return detail::pointwise_loss(terms, d_real, d_fake, "gail", towards(1), towards(0));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
