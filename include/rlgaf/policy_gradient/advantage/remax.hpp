#pragma once
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// ReMax: the baseline is what the policy's greedy answer to the same prompt earns.
/// Formula: A_t = sum of r_s over unmasked s >= t, minus greedy_reward_i; the row's outcomes are paid at its last
///          unmasked token, `bootstrap` after it. Nothing is discounted.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a row without a reward, or whose greedy_reward is NaN: 0.
/// Errors:  shape_error.
/// Needs:   terms.greedy_reward from the policy that sampled, scored by the same discriminator in the same state and
///          through the same reward stages (verl leaves a KL in the token rewards out of it).
/// Source:  Li et al. 2023, arXiv 2310.10505, algorithm 1.
struct remax {
    using role = role::advantage;
    static constexpr bool needs_greedy_reward = true;
    std::size_t group_size = 1;  ///< samples a prompt that the trainer draws; they share one greedy answer

    void check() const {}

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        detail::check_token_rewards(terms, advantage, "remax");
        detail::check_size(terms.greedy_reward.size(), advantage.rows(), "remax", "terms.greedy_reward");
        if (terms.reward.token.empty()) {  // every token of a row has the same return
            work.b.assign(advantage.rows(), 0.0);
            for (std::size_t i = 0; i < advantage.rows(); ++i) {
                const double to_go = detail::row_return(terms.reward, i), greedy = terms.greedy_reward[i];
                if (!is_nan(&to_go) && !is_nan(&greedy)) work.b[i] = centred(to_go, greedy);
            }
            return detail::finish_rows(detail::span_of(work.b), terms.mask, advantage,
                                       detail::same_rewards(terms, advantage, work.a));
        }
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const auto out = advantage.row(i);
            for (T& v : out) v = 0;
            const double greedy = terms.greedy_reward[i];
            if (is_nan(&greedy)) continue;
            detail::for_each_return(terms, i, out.size(), 1, [&](std::size_t t, double to_go) {
                out[t] = static_cast<T>(centred(to_go, greedy));
            });
        }
        return detail::summarize(advantage, terms.mask, detail::same_rewards(terms, advantage, work.a));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
