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
        // [groups, longest] each: sum of W G, then the baseline; sum of W, then 1 where there is one; rows that end there,
        // then those that get there.
        std::vector<double>&product = work.a, &weight = work.b, &count = work.c;
        for (std::vector<double>* x : {&product, &weight, &count}) x->assign(terms.group.count * longest, 0.0);
        work.d.resize(detail::all_tokens(advantage));
        work.e.resize(longest);
        work.index.resize(advantage.rows());
        double *to_go = work.d.data(), *const norm = work.e.data();
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t n = work.index[i] = detail::list_rewards(terms, i, advantage.length(i), to_go);
            detail::sum_to_go(to_go, n, 1, detail::bootstrap_of(terms.reward, i));
            detail::list_tokens(terms.score_norm, terms.mask, i, norm);
            const std::size_t first = terms.group.id[i] * longest;
            double *const p = product.data() + first, *const w = weight.data() + first;
            for (std::size_t k = 0; k < n; ++k) norm[k] = detail::choose(norm[k] < 0, 0.0, norm[k]);
            sum_up(norm, n);
            for (std::size_t k = 0; k < n; ++k) p[k] += norm[k] * to_go[k], w[k] += norm[k];
            if (n > 0) count[first + n - 1] += 1;
            to_go += n;
        }
        for (std::size_t first = 0; first < product.size(); first += longest) {
            double *const p = product.data() + first, *const w = weight.data() + first, *const c = count.data() + first;
            detail::sum_to_go(c, longest, 1, 0);
            const double last_row = handle_zero_tail && c[0] > 1 ? 1 : 0;  // of tokens that one row alone gets to
            for (std::size_t k = 0; k < longest; ++k) {
                const double shared = detail::choose(c[k] > 1, detail::choose(w[k] > 0, 1.0, 0.0), 0.0);
                p[k] = detail::choose(shared > 0, p[k] / w[k], 0.0);
                w[k] = detail::choose(c[k] == 1, last_row, shared);
            }
        }
        to_go = work.d.data();
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t n = work.index[i], first = terms.group.id[i] * longest;
            const double *const baseline = product.data() + first, *const has = weight.data() + first;
            if (n == 0)
                detail::write_tokens(advantage, terms.mask, i, [](std::size_t) { return 0; });
            else
                detail::write_tokens(advantage, terms.mask, i, [=](std::size_t k) {
                    return detail::choose(has[k] > 0, centred(to_go[k], baseline[k]), 0.0);
                });
            to_go += n;
        }
        return detail::summarize(advantage, terms.mask, detail::constant_groups(terms, advantage.rows(), work));
    }

private:
    /// x_k += x_{k-1} from the first to the last, four at a time.
    static void sum_up(double* x, std::size_t n) {
        double before = 0;
        for (; n >= 4; n -= 4, x += 4) {
            const double first = x[0], second = first + x[1], third = second + x[2], fourth = third + x[3];
            x[0] = before + first, x[1] = before + second, x[2] = before + third, x[3] = before += fourth;
        }
        for (; n > 0; --n, ++x) before = *x += before;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
