#pragma once
#include "rlgaf/policy_gradient/advantage/center.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Leave-one-out advantages: the baseline of a row is the mean of the other answers to its prompt. Unbiased.
/// Formula: A_i = R_i - (sum of R_j, j in the group, j != i) / (G - 1), the same on every unmasked token.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a group of one, a row without a reward: 0 (one of verl's two forms returns the raw reward).
/// Errors:  shape_error.
/// Needs:   rows of a group are independent samples of the same prompt.
/// Source:  Kool et al. 2019; Ahmadian et al. 2024, arXiv 2402.14740, equation 8.
struct rloo {
    using role = role::advantage;
    std::size_t group_size = 4;  ///< samples a prompt that the trainer draws; 0: the whole step is one group

    void check() const {}

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        detail::check_advantage_terms(terms, advantage, "rloo");
        detail::center_rewards(terms, advantage.rows(), true, work);
        double constant = 0, filled = 0;
        std::vector<double>&spread = work.d, &count = work.e;
        spread.assign(terms.group.count, 0.0);
        count.assign(terms.group.count, 0.0);
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            if (is_nan(&work.a[i])) continue;
            spread[terms.group.id[i]] = std::fmax(spread[terms.group.id[i]], std::abs(work.a[i]));
            count[terms.group.id[i]] += 1;
        }
        for (std::size_t g = 0; g < terms.group.count; ++g) {
            filled += count[g] > 0;
            constant += count[g] > 0 && is_constant(spread[g], work.b[g]);
        }
        detail::nan_to_zero(work.a);
        return detail::finish_rows(detail::span_of(work.a), terms.mask, advantage, filled > 0 ? constant / filled : 0);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
