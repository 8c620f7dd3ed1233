#pragma once
#include "rlgaf/reward_shaping/score_map.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A row that ended by itself goes on earning, up to the horizon, what its end is worth: this takes the survival bias
/// out of rewards that are paid token by token.
/// Formula: token reward of the last unmasked token += (horizon - n_i) map(token_score of it), for terminated rows with
///          n_i < horizon unmasked tokens.
/// Shapes:  token_score [B, length]; masked slots are never read.
/// Units:   reward. Survival bias: none, if the discriminator has learned what ends are worth.
/// Degenerate: truncated rows, rows without unmasked tokens, rows at or beyond the horizon: nothing is paid.
/// Errors:  shape_error; option_error.
/// Needs:   the map of the stage that pays the other tokens, discount 1, and a discriminator that has seen ends of
///          demonstrations; the end token stands for the paper's absorbing state, which repeats until the horizon.
/// Source:  Kostrikov et al. 2018, arXiv 1809.02925 (DAC).
struct absorbing_state {
    using role = role::reward;
    double horizon = 1000;  ///< > 0, tokens that the longest row may have
    score_map map = score_map::two_d_minus_one;

    void check() const { detail::check_option(horizon > 0, "absorbing_state", "horizon", "positive", horizon); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.token_score, out, "absorbing_state", "terms.token_score");
        detail::check_size(terms.truncated.size(), out.rows(), "absorbing_state", "terms.truncated");
        for (std::size_t b = 0; b < token.rows(); ++b) {
            if (terms.truncated[b]) continue;
            const included_tokens included(terms.mask, b);
            double n = 0;
            std::size_t last = 0;
            for (std::size_t t = 0; t < token.length(b); ++t)
                if (included[t]) n += 1, last = t;
            if (n == 0 || n >= horizon) continue;
            const double worth = map_score(map, static_cast<double>(terms.token_score.row(b)[last]));
            token.row(b)[last] += static_cast<T>((horizon - n) * worth);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
