#pragma once
#include "rlgaf/core/error.hpp"
#include "rlgaf/math/f_conjugate.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The scalars of one divergence. s: score, u: density ratio expert / policy.
/// Extremes: exponentials of s go on as straight lines above 20 and are constant, without slope, below -20; alpha's is
///           constant where |log u| is above 20.
/// Source:  Nowozin, Cseke, Tomioka 2016, arXiv 1606.00709, tables 1, 2, 5, 6; reverse_kl with f* = s - 1.
struct f_divergence {
    divergence kind = divergence::jensen_shannon;
    double alpha = 0.5;  ///< divergence::alpha only: in [0.01, 10], at least 0.01 from 1, where it would be kl

    void check(const char* component = "f_divergence") const {
        if (kind == divergence::alpha)
            detail::check_option(alpha >= 0.01 && alpha <= 10 && !(std::abs(alpha - 1) < 0.01), component, "alpha",
                                 "in [0.01, 10] and at least 0.01 from 1", alpha);
    }

    /// g(s): the policy's reward that does not saturate.
    f_term<double> activation(double s) const {
        return with_f_divergence<double>(kind, alpha, [s](auto&& g, auto&&) { return g(s); });
    }
    /// f*(g(s)): what the policy is paid in the original game.
    f_term<double> conjugate(double s) const {
        return with_f_divergence<double>(kind, alpha, [s](auto&&, auto&& c) { return c(s); });
    }
    /// u = f*'(g(s)), what the score claims; never negative. total_variation knows no ratio: 1.
    double ratio(double s) const {
        const double held = clamp_log_ratio(s);
        switch (kind) {
            case divergence::kl:
                return std::exp(held - 1);
            case divergence::pearson:
                return s < -2 ? 0 : 1 + s / 2;
            case divergence::squared_hellinger:
                return std::exp(2 * held);
            case divergence::total_variation:
                return s == s ? 1 : s;
            case divergence::alpha:
                return std::exp(clamp_log_ratio(alpha < 1 ? detail::alpha_log_ratio_below(alpha, softplus(-s))
                                                          : detail::alpha_log_ratio_above(alpha, s)));
            case divergence::reverse_kl:
            case divergence::jensen_shannon:
            case divergence::gan:
                break;
        }
        return std::exp(held);
    }
    /// The score that claims the ratio u: the optimum of the loss. total_variation: -infinity, 0 or infinity.
    double score(double u) const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        switch (kind) {
            case divergence::kl:
                return 1 + std::log(u);
            case divergence::pearson:
                return 2 * (u - 1);
            case divergence::squared_hellinger:
                return 0.5 * std::log(u);
            case divergence::total_variation:
                return u > 1 ? infinity : u < 1 ? -infinity : u - 1;
            case divergence::alpha:
                if (alpha > 1) return (std::pow(u, alpha - 1) - 1) / (alpha - 1);
                u = std::pow(u, alpha - 1) / (1 - alpha);  // softplus(-s)
                return -(u + std::log(-std::expm1(-u)));
            case divergence::reverse_kl:
            case divergence::jensen_shannon:
            case divergence::gan:
                break;
        }
        return std::log(u);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
