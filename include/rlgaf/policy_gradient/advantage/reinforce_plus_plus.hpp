#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// REINFORCE++: rewards to go, or group-centred rewards, whitened over all tokens of the step.
/// Formula: group_baseline off: x_t = r_t + discount x_{t+1} over unmasked tokens; the row's outcomes are paid at its
///          last unmasked token, `bootstrap` after it. Masked tokens are skipped (before verl 0.9 a hole cut the returns off).
///          group_baseline on: x_t = R_i - mean_g on every token; token rewards are part of R, `bootstrap` is not.
///          A = (x - mean) / deviation over the step's unmasked tokens, so that long rows weigh more.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: numbers that are all equal, or a single one: 0. A row without a reward: 0, and it is in no mean or
///          deviation; with group_baseline likewise the rows of a group of one or of equal rewards (peers whiten their
///          zeros, which pushes them like the others, and the raw reward of a group of one).
/// Errors:  shape_error; option_error.
/// Needs:   KL as token rewards (kl_penalty, k1), or for group_baseline as kl_loss with k2.
/// Source:  Hu et al. 2025, arXiv 2501.03262.
struct reinforce_plus_plus {
    using role = role::advantage;
    bool group_baseline = false;
    double discount = 1;                             ///< in [0, 1], unused with group_baseline
    variance_kind variance = variance_kind::bessel;  ///< OpenRLHF: biased
    std::size_t group_size = 1;  ///< samples a prompt that the trainer draws; not 1 with group_baseline; 0: one group

    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "reinforce_plus_plus", "discount", "in [0, 1]", discount);
        detail::check_option(!group_baseline || group_size != 1, "reinforce_plus_plus", "group_size",
                             "more than 1 with group_baseline", static_cast<double>(group_size));
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_token_rewards(terms, advantage, "reinforce_plus_plus");
        const std::size_t rows = advantage.rows();
        double constant = 0, size = std::numeric_limits<double>::infinity();
        if (group_baseline) {
            detail::center_rewards(terms, rows, false, work);
            constant = detail::find_constant_groups(terms.group, work);
        }
        std::vector<double>& x = work.c;
        std::vector<std::size_t>& count = work.index;
        x.resize(detail::all_tokens(advantage));
        count.resize(rows);
        double* next = x.data();
        for (std::size_t i = 0; i < rows; ++i) {
            if (group_baseline) {
                const bool teaches = !is_nan(&work.a[i]) && work.d[terms.group.id[i]] != 0;
                count[i] = teaches ? detail::token_count(advantage.length(i), terms.mask, i) : 0;
                for (std::size_t k = 0; k < count[i]; ++k) next[k] = work.a[i];
            } else {
                count[i] = detail::list_rewards(terms, i, advantage.length(i), next);
                detail::sum_to_go(next, count[i], discount, detail::bootstrap_of(terms.reward, i));
            }
            next += count[i];
        }
        if (!group_baseline) {
            const detail::step_spread spread = detail::spread_of_rewards(terms, advantage, work.a);
            constant = spread.same, size = spread.size;
        }
        const moments m = detail::write_rows(x.data(), count, true, variance, terms.mask, advantage, size);
        return {m.mean, m.deviation(), constant};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
