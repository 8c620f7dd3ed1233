#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class gpg_rescale {
    informative_rows,  ///< rows / rows in groups that teach something: the paper's
    nonzero_rewards,   ///< rows / rows whose total reward is not 0: verl's; 1 for real-valued scores
    none               ///< 1: Dr.GRPO
};

/// Group advantages that make up for the groups from which nothing is learnt, so that the gradient keeps its size when
/// prompts become too easy or too hard.
/// Formula: A_i = alpha (R_i - mean_g) / F, F = 1 or the deviation of the group (with Bessel) + epsilon, the same on
///          every unmasked token; alpha = B / max(1, number of rows that `rescale` counts), B the rows with a reward.
///          Several rewards are centred each on the rows that it applies to, summed, then scaled.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a group of one (verl: the raw reward), a group of equal rewards, a row without a reward: 0.
/// Errors:  shape_error; option_error.
/// Needs:   rows of a group answer the same prompt.
/// Source:  Chu et al. 2025, arXiv 2504.02546 (accurate gradient estimation); its resampling of steps with
///          few informative rows is the trainer's.
struct gpg {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    gpg_rescale rescale = gpg_rescale::informative_rows;
    bool scale = false;  ///< divide by the deviation of the group
    double epsilon = 0;  ///< >= 0, added to the deviation

    void check() const { detail::check_option(epsilon >= 0, "gpg", "epsilon", "0 or positive", epsilon); }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_advantage_terms(terms, advantage, "gpg");
        const std::size_t rows = advantage.rows();
        detail::center_rewards(terms, rows, false, work);

        std::vector<double>&deviation = work.d, &count = work.e;
        deviation.assign(terms.group.count, 0.0);
        count.assign(terms.group.count, 0.0);
        double with_reward = 0, nonzero = 0, informative = 0, filled = 0, constant = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            if (is_nan(&work.a[i])) continue;
            deviation[terms.group.id[i]] += work.a[i] * work.a[i];
            count[terms.group.id[i]] += 1;
            with_reward += 1;
            nonzero += work.c[i] != 0;
        }
        for (std::size_t g = 0; g < terms.group.count; ++g) {
            deviation[g] = count[g] > 1 ? std::sqrt(deviation[g] / (count[g] - 1)) : 0;
            if (is_constant(deviation[g], work.b[g])) deviation[g] = 0;
            filled += count[g] > 0;
            constant += count[g] > 0 && deviation[g] == 0;
            informative += deviation[g] > 0 ? count[g] : 0;
        }
        double counted = with_reward;
        if (rescale == gpg_rescale::informative_rows) counted = informative;
        if (rescale == gpg_rescale::nonzero_rewards) counted = nonzero;
        const double alpha = with_reward / std::fmax(1, counted);
        for (std::size_t i = 0; i < rows; ++i) {
            const double d = deviation[terms.group.id[i]];
            if (is_nan(&work.a[i]) || d == 0)
                work.a[i] = 0;
            else
                work.a[i] *= alpha / (scale ? d + epsilon : 1);
        }
        return detail::finish_rows(detail::span_of(work.a), terms.mask, advantage, filled > 0 ? constant / filled : 0);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
