#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The score of a row's end, spread over its tokens: each is paid by how much it raised the score. Undiscounted, a row
/// earns what it would have earned at its end, so the same policy is optimal.
/// Formula: token reward += scale (s_it - s_i,t-1), over unmasked tokens in order; before the first one s = initial.
/// Shapes:  token_score [B, length]; masked slots are never read: the token behind them is paid for the way across.
/// Units:   those of the score; a row's sum is scale (its last score - initial), up to the rounding of T.
///          Survival bias: learned, that of the row's score.
/// Errors:  shape_error; option_error.
/// Needs:   discount 1 in the estimator: with less, early tokens count more and something else is optimal.
/// Source:  Ng, Harada and Russell 1999 (ICML), with the score as potential, kept at the end; scores of beginnings: Li
///          et al. 2017, arXiv 1701.06547.
struct score_difference {
    using role = role::reward;
    double scale = 1;    ///< finite
    double initial = 0;  ///< finite; the score of nothing

    void check() const {
        const double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(std::abs(scale) < infinity, "score_difference", "scale", "a finite number", scale);
        detail::check_option(std::abs(initial) < infinity, "score_difference", "initial", "a finite number", initial);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.token_score, out, "score_difference", "terms.token_score");
        for (std::size_t b = 0; b < token.rows(); ++b) {
            const auto paid = token.row(b);
            const auto score = terms.token_score.row(b);
            const included_tokens included(terms.mask, b);
            double before = initial;
            for (std::size_t t = 0; t < paid.size(); ++t)
                if (included[t]) {
                    const double now = static_cast<double>(score[t]);
                    paid[t] += static_cast<T>(scale * (now - before));
                    before = now;
                }
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
