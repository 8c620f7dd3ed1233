#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pays tokens for reaching promising states, in a way that leaves the optimal policy what it was.
/// Formula: token reward += discount Phi_t - Phi_t-1, Phi_t = scale token_score_it after unmasked token t, Phi =
///          initial before the first, 0 after the last. So sum_t discount^t F_t = -initial, whatever the row.
/// Shapes:  token_score [B, length]; masked slots are never read. The last token's own score plays no part.
/// Units:   reward. Survival bias: none.
/// At the cut: a truncated row ends there like any other, unless keep_at_cut: then Phi stays, which is right where a
///          critic of these shaped rewards gives `bootstrap` for that row, and shifts what is optimal where none does.
/// Degenerate: a row without unmasked tokens is paid nothing.
/// Errors:  shape_error; option_error.
/// Needs:   the estimator's own discount: another one shifts what is optimal. A potential that trains on while a critic
///          learns moves the critic's target.
/// Source:  Ng, Harada and Russell 1999 (ICML), theorem 1; ends: Grzes 2017 (AAMAS); AIRL: Fu et al. 2017,
///          arXiv 1710.11248.
struct potential_shaping {
    using role = role::reward;
    double discount = 1;       ///< in [0, 1]
    double scale = 1;          ///< finite
    double initial = 0;        ///< finite; potential before the first token
    bool keep_at_cut = false;  ///< truncated rows go on behind the cut; needs terms.truncated

    void check() const {
        const double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(discount >= 0 && discount <= 1, "potential_shaping", "discount", "in [0, 1]", discount);
        detail::check_option(std::abs(scale) < infinity, "potential_shaping", "scale", "a finite number", scale);
        detail::check_option(std::abs(initial) < infinity, "potential_shaping", "initial", "a finite number", initial);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.token_score, out, "potential_shaping", "terms.token_score");
        if (keep_at_cut) detail::check_size(terms.truncated.size(), out.rows(), "potential_shaping", "terms.truncated");
        for (std::size_t b = 0; b < token.rows(); ++b) {
            const auto paid = token.row(b);
            const auto score = terms.token_score.row(b);
            const included_tokens included(terms.mask, b);
            double before = initial;
            std::size_t last = paid.size();
            for (std::size_t t = 0; t < paid.size(); ++t)
                if (included[t]) {
                    if (last < t) before = pay(paid[last], before, score[last]);
                    last = t;
                }
            if (last == paid.size()) continue;
            const bool goes_on = keep_at_cut && terms.truncated[b];
            pay(paid[last], before, goes_on ? score[last] : T{0});
        }
    }

private:
    template <class T>
    double pay(T& token, double before, T score) const {
        const double now = scale * static_cast<double>(score);
        token += static_cast<T>(discount * now - before);
        return now;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
