#pragma once
#include "rlgaf/core/finite.hpp"
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
    static constexpr bool row_separable = true;
    double coefficient = 0.01;  ///< finite, >= 0

    void check() const {
        detail::check_option(coefficient >= 0 && coefficient < std::numeric_limits<double>::infinity(), "entropy_bonus",
                             "coefficient", "finite, 0 or positive", coefficient);
    }

    template <class T>
    regularizer_stats operator()(const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_entropy) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_entropy, "entropy_bonus");
        detail::check_same_shape(terms.log_prob, terms.entropy, "entropy_bonus", "terms.entropy");
        const T c = static_cast<T>(coefficient);
        const auto sums = detail::map_tokens<2>(
            d_entropy, terms.mask, row_weight,
            [c](T w, T h) {
                return detail::token_term<2, T>{-c * w, {-c * w * h, h}};
            },
            terms.entropy);
        return {.loss = sums.sum[0], .value = sums.sum[1], .tokens = sums.tokens};
    }
};

/// Moves the coefficient of an entropy bonus so that the entropy stays above a floor: for entropy_bonus::coefficient.
/// Formula: after a step of mean entropy H:  c += delta if H <= target, else c -= delta;  c is held within [lowest,
///          highest];  the next step's coefficient is c if H <= target, else 0.
/// Units:   nats per token, the mean over the whole step: regularizer_stats::value / tokens.
/// Errors:  option_error; numeric_error if it measured NaN.
/// Source:  He et al. 2025 (Skywork-OR1), arXiv 2505.22312; TRL: use_adaptive_entropy.
struct adaptive_entropy {
    double initial = 0;    ///< c before the first step, finite, in [lowest, highest]
    double target = 0.2;   ///< nats, >= 0; tune it to the vocabulary
    double delta = 0.005;  ///< finite, > 0
    double lowest = 0;     ///< >= 0
    double highest = 1;    ///< >= lowest

    struct state {
        double coefficient = 0;   ///< c
        std::uint64_t steps = 0;  ///< taken in
        template <class Archive>
        void visit(Archive& a) {
            a("coefficient", coefficient), a("steps", steps);
        }
    };
    void check() const {
        detail::check_option(lowest >= 0, "adaptive_entropy", "lowest", "0 or positive", lowest);
        detail::check_option(highest >= lowest, "adaptive_entropy", "highest", "at least .lowest", highest);
        detail::check_option(
            initial >= lowest && initial <= highest && initial < std::numeric_limits<double>::infinity(),
            "adaptive_entropy", "initial", "finite, in [.lowest, .highest]", initial);
        detail::check_option(target >= 0, "adaptive_entropy", "target", "0 or positive nats", target);
        detail::check_option(delta > 0 && delta < std::numeric_limits<double>::infinity(), "adaptive_entropy", "delta",
                             "finite and positive", delta);
    }
    /// Takes in one measured step; returns the coefficient for the next.
    double operator()(state& s, double mean_entropy) const {
        check();
        if (is_nan(&mean_entropy)) [[unlikely]]
            fail(error_kind::numeric, "adaptive_entropy", "mean_entropy", "a number", "nan");
        const bool low = mean_entropy <= target;
        const double c = (s.steps++ == 0 ? initial : s.coefficient) + (low ? delta : -delta);
        s.coefficient = std::fmin(std::fmax(c, lowest), highest);
        return low ? s.coefficient : 0;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
