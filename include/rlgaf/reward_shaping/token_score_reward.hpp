#pragma once
#include "rlgaf/reward_shaping/score_map.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {
/// paid += reward(score) on the tokens of a row that take part.
template <class T, class F>
RLGAF_FLATTEN void add_token_rewards(std::span<const T> score, included_tokens included, std::span<T> paid,
                                     F&& reward) {
    for (std::size_t t = 0; t < paid.size(); ++t) {
        const T s = included[t] ? score[t] : T{0};
        paid[t] = choose(included[t], paid[t] + static_cast<T>(reward(static_cast<double>(s))), paid[t]);
    }
}
}  // namespace detail

/// Every token is paid what a discriminator of tokens thinks of the row up to it. This changes what is optimal: a row
/// earns the sum over its tokens, not the score of its end (score_difference keeps that).
/// Formula: token reward += map(token_score_it) within +-clip, on unmasked tokens.
/// Shapes:  token_score [B, length]; masked slots are never read.
/// Units:   those of the map. Survival bias: the map's; two_d_minus_one has none at a score of 0.
/// Errors:  shape_error; option_error.
/// Needs:   causal scores: one that sees later tokens is no credit for this one.
/// Source:  de Masson d'Autume et al. 2019, arXiv 1905.09922 (ScratchGAN: 2 D - 1).
struct token_score_reward {
    using role = role::reward;
    score_map map = score_map::two_d_minus_one;
    double clip = 10;  ///< > 0

    void check() const { detail::check_option(clip > 0, "token_score_reward", "clip", "positive", clip); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.token_score, out, "token_score_reward", "terms.token_score");
        with_score_map(map, [&](auto reward) {
            for (std::size_t b = 0; b < token.rows(); ++b)
                detail::add_token_rewards(
                    terms.token_score.row(b), included_tokens(terms.mask, b), token.row(b),
                    [reward, most = clip](double s) { return detail::held_within(reward(s), -most, most); });
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
