#pragma once
#include "rlgaf/policy_gradient/kl.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Entropy bonus: keeps the policy from settling too early. For policies that give their entropy.
/// Formula: L = -coefficient sum of w_i entropy_it over unmasked tokens.
/// Shapes:  all [B, length]; row_weight [B].
/// Adds:    d_entropy += -coefficient w. token_factor does not touch it.
/// Units:   nats.
/// Errors:  shape_error; option_error.
/// Source:  Mnih et al. 2016, arXiv 1602.01783, section 4.
struct entropy_bonus {
    using role = role::policy_regularizer;
    static constexpr bool needs_entropy = true;
    double coefficient = 0.01;  ///< >= 0

    void check() const {
        detail::check_option(coefficient >= 0, "entropy_bonus", "coefficient", "0 or positive", coefficient);
    }

    template <class T>
    regularizer_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_entropy) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_entropy, "entropy_bonus");
        detail::check_same_shape(terms.log_prob, terms.entropy, "entropy_bonus", "terms.entropy");
        regularizer_stats stats;
        for_each_token(terms.entropy, terms.mask, [&](std::size_t b, std::size_t t) {
            const double weight = coefficient * row_weight[b], h = static_cast<double>(terms.entropy.row(b)[t]);
            stats.loss -= weight * h;
            stats.value += h;
            stats.tokens += 1;
            d_entropy.row(b)[t] += static_cast<T>(-weight);
        });
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
