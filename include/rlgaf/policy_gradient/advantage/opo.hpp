#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// OPO: the group's baseline of least variance, if the squared gradient of a row grows with its length.
/// Formula: b_g = sum of n_j R_j / sum of n_j over the group, n_j: unmasked tokens;  A_i = R_i - b_g on every one of
///          them. Several rewards have a baseline each, over the rows that they apply to, and are then summed.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a group of one, a group of equal rewards, a row without a reward: 0. A row without an unmasked token
///          has weight 0 in the baseline (unlike in grpo and rloo).
/// Errors:  shape_error.
/// Needs:   exact on-policy training: one minibatch, one epoch, no KL and no entropy term.
/// Source:  Hao et al. 2025, arXiv 2505.23585, section 3 (the length-weighted form of the optimal baseline).
struct opo {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group

    void check() const {}

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        detail::check_advantage_terms(terms, advantage, "opo");
        const std::size_t rows = advantage.rows();
        std::vector<double>&gain = work.a, &length = work.c, &mean = work.d, &weight = work.e;
        const double constant = detail::constant_groups(terms, rows, work);
        gain.assign(rows, 0.0);
        length.resize(rows);
        for (std::size_t i = 0; i < rows; ++i) {
            const std::size_t n = advantage.length(i);
            length[i] = static_cast<double>(terms.mask.empty() ? n : detail::count_included(terms.mask.data(i), n));
        }
        detail::for_each_row_reward(terms, [&](auto&& reward_of) {
            mean.assign(terms.group.count, 0.0);
            weight.assign(terms.group.count, 0.0);
            for (std::size_t i = 0; i < rows; ++i) {
                const double r = reward_of(i);
                if (is_nan(&r)) continue;
                mean[terms.group.id[i]] += length[i] * r;
                weight[terms.group.id[i]] += length[i];
            }
            for (std::size_t i = 0; i < rows; ++i) {
                const double r = reward_of(i);
                const std::size_t g = terms.group.id[i];
                if (!is_nan(&r) && length[i] > 0) gain[i] += centred(r, mean[g] / weight[g]);
            }
        });
        return detail::finish_rows(detail::span_of(gain), terms.mask, advantage, constant);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
