#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"
#include "rlgaf/policy_gradient/advantage/token_reward.hpp"

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
        std::vector<double>& x = work.c;
        if (!group_baseline) {
            x.clear();
            for (std::size_t i = 0; i < advantage.rows(); ++i)
                detail::for_each_return(terms, i, advantage.length(i), discount,
                                        [&](std::size_t, double to_go) { x.push_back(to_go); });
            detail::whiten_numbers(x, variance);
            detail::write_in_order(x, terms, advantage);
            return detail::summarize(advantage, terms.mask, detail::same_rewards(terms, advantage, work.a));
        }
        detail::center_rewards(terms, advantage.rows(), false, work);
        const double constant = detail::find_constant_groups(terms.group, work);
        const auto teaches = [&](std::size_t i) { return !is_nan(&work.a[i]) && work.d[terms.group.id[i]] != 0; };
        x.clear();
        for_each_token(advantage, terms.mask, [&](std::size_t i, std::size_t) {
            if (teaches(i)) x.push_back(work.a[i]);
        });
        detail::whiten_numbers(x, variance);
        for (std::size_t i = 0; i < advantage.rows(); ++i)
            for (T& v : advantage.row(i)) v = 0;
        std::size_t next = 0;
        for_each_token(advantage, terms.mask, [&](std::size_t i, std::size_t t) {
            if (teaches(i)) advantage.row(i)[t] = static_cast<T>(x[next++]);
        });
        return detail::summarize(advantage, terms.mask, constant);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
