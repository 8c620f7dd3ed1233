#pragma once
#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/reward_shaping/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// KL to the reference policy, paid token by token in the reward. With k1 the expected gradient is that of the KL of
/// whole rows. Do not add kl_loss as well.
/// Formula: token reward -= beta kl(log_prob_it, reference_log_prob_it), on unmasked tokens.
/// Units:   nats. Survival bias: for short rows: a token costs its KL, which is 0 or more on average.
/// Errors:  shape_error; option_error.
/// Source:  Ziegler et al. 2019, arXiv 1909.08593, equation 2; Stiennon et al. 2020, arXiv 2009.01325.
struct kl_penalty {
    using role = role::reward;
    static constexpr bool needs_reference = true;
    double beta = 0.02;  ///< >= 0
    kl_estimator estimator = kl_estimator::k1;

    void check() const { detail::check_option(beta >= 0, "kl_penalty", "beta", "0 or positive", beta); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const ragged_view<T> token = out.token();
        detail::check_same_shape(token, terms.log_prob, "kl_penalty", "terms.log_prob");
        detail::check_same_shape(token, terms.reference_log_prob, "kl_penalty", "terms.reference_log_prob");
        detail::check_same_shape_if_given(token, terms.mask, "kl_penalty", "terms.mask");
        for (std::size_t b = 0; b < token.rows(); ++b) {
            const auto paid = token.row(b);
            const auto log_prob = terms.log_prob.row(b), reference = terms.reference_log_prob.row(b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < paid.size(); ++t)
                if (included[t])
                    paid[t] -= static_cast<T>(beta * estimate_kl(estimator, static_cast<double>(log_prob[t]),
                                                                 static_cast<double>(reference[t]))
                                                         .value);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
