#pragma once
#include "rlgaf/policy_gradient/advantage/center.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class reward_scale {
    group,  ///< divide by the deviation of the group (GRPO)
    batch,  ///< divide by the deviation of all rows of the step (Lite PPO)
    none    ///< only centre (Dr.GRPO)
};

/// Group-relative advantages: a row is compared with the other answers to its prompt.
/// Formula: A_i = (R_i - mean_g) / (deviation_g + epsilon), the same on every unmasked token; deviation with Bessel.
///          Several rewards are centred each on the rows that it applies to, summed, then scaled.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a group of one, a group of equal rewards, a row without a reward: 0 (peers: the raw reward, or noise). A
///          reward that is constant in a group, however large, does not hide the others. batch: where all sums are
///          equal because rewards are missing, 0.
/// Errors:  shape_error; option_error.
/// Needs:   rows of a group answer the same prompt; for a policy without prompts any rows do.
/// Source:  Shao et al. 2024, arXiv 2402.03300, section 4.1.2; none: Liu et al. 2025, arXiv 2503.20783;
///          batch: Liu et al. 2025, arXiv 2508.08221. epsilon is 1e-4 in TRL and 1e-6 in verl.
struct grpo {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    reward_scale scale = reward_scale::group;
    double epsilon = 0;  ///< >= 0, added to the deviation

    void check() const { detail::check_option(epsilon >= 0, "grpo", "epsilon", "0 or positive", epsilon); }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_advantage_terms(terms, advantage, "grpo");
        const std::size_t rows = advantage.rows();
        detail::center_rewards(terms, rows, false, work);

        std::vector<double>&squares = work.d, &count = work.e;
        squares.assign(terms.group.count, 0.0);
        count.assign(terms.group.count, 0.0);
        for (std::size_t i = 0; i < rows; ++i) {
            if (is_nan(&work.a[i])) continue;
            squares[terms.group.id[i]] += work.a[i] * work.a[i];
            count[terms.group.id[i]] += 1;
        }
        double constant = 0, filled = 0, size = std::numeric_limits<double>::infinity();
        for (std::size_t g = 0; g < terms.group.count; ++g) {
            squares[g] = count[g] > 1 ? std::sqrt(squares[g] / (count[g] - 1)) : 0;
            filled += count[g] > 0;
            if (is_constant(squares[g], work.b[g])) {
                constant += count[g] > 0;
                squares[g] = 0;
            } else {
                size = std::fmin(size, std::abs(work.b[g]));
            }
        }
        // Where rewards are missing, sums can be equal although what they are made of varies: they teach nothing either.
        double batch_deviation = moments_of(detail::span_of(work.c)).deviation();
        if (is_constant(batch_deviation, size)) batch_deviation = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const double group_deviation = squares[terms.group.id[i]];
            const double deviation = scale == reward_scale::batch ? batch_deviation : group_deviation;
            if (is_nan(&work.a[i]) || group_deviation == 0 || (scale == reward_scale::batch && deviation == 0))
                work.a[i] = 0;
            else if (scale != reward_scale::none)
                work.a[i] /= deviation + epsilon;
        }
        return detail::finish_rows(detail::span_of(work.a), terms.mask, advantage, filled > 0 ? constant / filled : 0);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
