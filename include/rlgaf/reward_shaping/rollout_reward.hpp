#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What a token is paid of the expected scores Q_t that rollouts found after each token.
enum class rollout_credit {
    q,          ///< Q_t itself: SeqGAN. For reinforce{.discount = 0, .baseline = reinforce_baseline::per_step}
    difference  ///< Q_t - Q_t-1: VinePPO's advantage. Undiscounted, a row's sum is its last Q less the first baseline
};

/// Pays tokens by Monte-Carlo values. The last token's value is the score of the finished row.
/// Formula: token reward += Q_it (q), or Q_it - Q_i,t-1 (difference), over unmasked tokens in order; before the first
///          one Q = initial, or the mean of the first Qs of the rows that answer the same prompt.
/// Shapes:  prefix_value [B, length]; masked slots are never read.
/// Units:   those of the score. Survival bias: q that of the score, times the number of tokens; difference: that of the
///          score.
/// Degenerate: a prompt with a single row beside larger ones, initial_is_mean: its first token is paid 0.
/// Errors:  shape_error; option_error, also where initial_is_mean and every row is a group of its own: give the estimator
///          group_size 0 (all rows answer the same) or that of the prompts.
/// Needs:   `q` is a return, not a reward: summed over later tokens (discount above 0) it counts the future many times.
/// Source:  Yu et al. 2017, arXiv 1609.05473 (SeqGAN); Kazemnejad et al. 2024, arXiv 2410.01679 (VinePPO).
struct rollout_reward {
    using role = role::reward;
    rollout_credit credit = rollout_credit::q;
    double initial = 0;            ///< finite; the value of nothing (difference)
    bool initial_is_mean = false;  ///< the mean of the prompt's first Qs in place of .initial

    void check() const {
        detail::check_option(std::abs(initial) < std::numeric_limits<double>::infinity(), "rollout_reward", "initial",
                             "a finite number", initial);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.prefix_value, out, "rollout_reward", "terms.prefix_value");
        const bool subtract = credit == rollout_credit::difference, by_prompt = subtract && initial_is_mean;
        if (by_prompt) find_first_values(terms, out.rows(), work);
        for (std::size_t b = 0; b < token.rows(); ++b) {
            const auto paid = token.row(b);
            const auto value = terms.prefix_value.row(b);
            const included_tokens included(terms.mask, b);
            double before = by_prompt ? work.a[terms.group.id[b]] : subtract ? initial : 0;
            for (std::size_t t = 0; t < paid.size(); ++t)
                if (included[t]) {
                    const double now = static_cast<double>(value[t]);
                    paid[t] += static_cast<T>(now - before);
                    if (subtract) before = now;
                }
        }
    }

private:
    /// work.a[g]: the mean first value of group g.
    template <class T>
    static void find_first_values(const shaping_terms<T>& terms, std::size_t rows, workspace& work) {
        detail::check_groups(terms.group, rows, "rollout_reward");
        detail::check_shared_groups(terms.group, work, "rollout_reward");
        work.a.assign(terms.group.count, 0.0);
        work.b.assign(terms.group.count, 0.0);
        for (std::size_t b = 0; b < rows; ++b) {
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < terms.prefix_value.length(b); ++t)
                if (included[t]) {
                    work.a[terms.group.id[b]] += static_cast<double>(terms.prefix_value.row(b)[t]);
                    work.b[terms.group.id[b]] += 1;
                    break;
                }
        }
        for (std::size_t g = 0; g < terms.group.count; ++g) work.a[g] /= work.b[g];
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
