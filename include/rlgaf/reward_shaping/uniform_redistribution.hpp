#pragma once
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Moves the outcomes that stand before it from rows to tokens, in equal parts. A row earns the same in all.
/// Formula: token reward += R_i / n_i on each of the row's n_i unmasked tokens, R_i the sum of its outcomes; the last
///          token takes the rest that rounding leaves. The moved outcomes become 0.
/// Shapes:  masked slots are not paid.
/// Units:   reward a token. Survival bias: none in the row's sum.
/// Degenerate: rows without unmasked tokens keep their outcomes. NaN ("does not apply") is not moved and stays, and such
///          a row has no reward.
/// Errors:  shape_error.
/// Needs:   discount 1 in the estimator: with less the row's sum is no longer what counts.
/// Source:  Gangwani, Zhou and Peng 2020, arXiv 2010.12718.
struct uniform_redistribution {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.log_prob, out, "uniform_redistribution", "terms.log_prob");
        for (std::size_t b = 0; b < token.rows(); ++b) {
            const double tokens = detail::unmasked_tokens(terms, b);
            if (tokens == 0) continue;
            double left = detail::take_outcomes(out, b), n = tokens;
            const T share = static_cast<T>(left / tokens);
            const auto paid = token.row(b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < paid.size(); ++t)
                if (included[t]) {
                    const T part = --n > 0 ? share : static_cast<T>(left);
                    paid[t] += part;
                    left -= static_cast<double>(part);
                }
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
