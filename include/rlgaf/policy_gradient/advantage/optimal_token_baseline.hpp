#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"
#include "rlgaf/policy_gradient/advantage/token_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// OTB: a baseline for each position of a group, which weighs a row by the gradient that it has built up until there.
/// Formula: G_k: undiscounted rewards to go; W_k = sum of score_norm over the row's first k unmasked tokens;
///          b_gk = sum of W_k G_k / sum of W_k over the group's rows that reach position k;  A_k = G_k - b_gk.
///          Positions count unmasked tokens, as in verl's multi-turn form. The row's outcomes are paid at its last
///          unmasked token, `bootstrap` after it.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a group of one: 0 (verl: the raw return); a position that only the longest row reaches: see
///          handle_zero_tail; a position where every W is 0: 0, since nothing has a gradient yet; a row without a
///          reward: 0. A norm below 0 is rounding and counts as 0.
/// Errors:  shape_error.
/// Needs:   terms.score_norm = 1 - 2 p + sum of all squared probabilities, p: that of the token (the squared norm of
///          d log_prob / d logits), at the sampling temperature; times the squared importance weight if there is one.
/// Source:  Li et al. 2025, verl's optimal_token_baseline (no paper).
struct optimal_token_baseline {
    using role = role::advantage;
    static constexpr bool needs_score_norm = true;
    bool handle_zero_tail = false;  ///< where only the longest row is left: G instead of 0. verl's multi-turn form: on
    std::size_t group_size = 8;     ///< samples a prompt that the trainer draws; 0: the whole step is one group

    void check() const {}

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        detail::check_token_rewards(terms, advantage, "optimal_token_baseline");
        detail::check_same_shape(advantage, terms.score_norm, "optimal_token_baseline", "terms.score_norm");
        std::size_t longest = 0;
        for (std::size_t i = 0; i < advantage.rows(); ++i)
            longest = advantage.length(i) > longest ? advantage.length(i) : longest;
        // [groups, longest] each: sum of W G, sum of W, rows.
        std::vector<double>&product = work.a, &weight = work.b, &count = work.c;
        for (std::vector<double>* x : {&product, &weight, &count}) x->assign(terms.group.count * longest, 0.0);
        for (std::size_t i = 0; i < advantage.rows(); ++i)
            for_each_position(terms, i, work.d, [&](std::size_t, std::size_t k, double to_go, double w) {
                const std::size_t at = terms.group.id[i] * longest + k;
                product[at] += w * to_go;
                weight[at] += w;
                count[at] += 1;
            });
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const auto out = advantage.row(i);
            for (T& v : out) v = 0;
            for_each_position(terms, i, work.d, [&](std::size_t t, std::size_t k, double to_go, double) {
                const std::size_t first = terms.group.id[i] * longest, at = first + k;
                if (count[at] > 1 && weight[at] > 0)
                    out[t] = static_cast<T>(centred(to_go, product[at] / weight[at]));
                else if (handle_zero_tail && count[at] == 1 && count[first] > 1)
                    out[t] = static_cast<T>(to_go);
            });
        }
        return detail::summarize(advantage, terms.mask, detail::constant_groups(terms, advantage.rows(), work));
    }

private:
    /// Calls f(token, position, return, W) for the unmasked tokens of row i, the first one first; not at all if no
    /// reward applies.
    template <class T, class F>
    static void for_each_position(const advantage_terms<T>& terms, std::size_t i, std::vector<double>& to_go, F&& f) {
        const auto norm = terms.score_norm.row(i);
        to_go.clear();
        detail::for_each_return(terms, i, norm.size(), 1, [&](std::size_t, double g) { to_go.push_back(g); });
        if (to_go.empty()) return;
        const included_tokens included(terms.mask, i);
        double w = 0;
        std::size_t k = 0;
        for (std::size_t t = 0; t < norm.size(); ++t) {
            if (!included[t]) continue;
            if (!(norm[t] < 0)) w += static_cast<double>(norm[t]);
            f(t, k, to_go[to_go.size() - 1 - k], w);
            ++k;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
