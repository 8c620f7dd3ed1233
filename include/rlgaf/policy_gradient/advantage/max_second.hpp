#pragma once
#include "rlgaf/policy_gradient/advantage/ordered_groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Only the best answer to a prompt learns, by how much it beats the second best: optimises the best of all G answers.
/// Formula: A_best = R_(G) - R_(G-1), or that / (deviation_g + epsilon), deviation with Bessel; 0 for the other rows.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Units:   as pkpo, whose leave_one_out form with k = G it is when it is not scaled.
/// Degenerate: a tie for the best, a group of one (verl raises), equal rewards, a row without a reward: 0.
/// Errors:  shape_error; option_error.
/// Needs:   rows of a group are independent samples of the same prompt.
/// Source:  Tang et al. 2025, arXiv 2503.19595; "grpo_passk" in verl, which scales by default with epsilon 1e-6.
struct max_second {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    bool scale = false;          ///< divide by the deviation of the group; biased
    double epsilon = 0;          ///< >= 0, added to the deviation

    void check() const { detail::check_option(epsilon >= 0, "max_second", "epsilon", "0 or positive", epsilon); }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        return detail::estimate_by_order(
            terms, work, advantage, "max_second",
            [this](std::span<const double> reward, std::span<double> out, bool constant) {
                const std::size_t n = reward.size();
                if (n < 2) return;
                out[n - 1] = centred(reward[n - 1], reward[n - 2]);
                if (scale) out[n - 1] = constant ? 0 : out[n - 1] / (moments_of(reward).deviation() + epsilon);
            });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
