#pragma once
#include "rlgaf/policy_gradient/advantage/ordered_groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class pkpo_form {
    score,         ///< "s": the mean, over subsets, of the best reward in it; no baseline
    leave_one_out  ///< "loo-1": minus the best reward of the subset without the row; never negative
};

/// Advantages for the best of k answers: their sum with grad log pi estimates the gradient of E[max of k rewards]
/// without bias, from groups of n >= k.
/// Formula: score:         s_i = sum of max_I R, over the I of k rows that contain i, / C(n, k)
///          leave_one_out: A_i = sum of (max_I R - max_{I without i} R) over the same I, / C(n, k)
///          With R_(1) <= .. <= R_(n) and w_i = C(i - 1, k - 1) / C(n, k), which is 0 below i = k:
///          s_(n) = w_n R_(n), s_(i-1) = s_(i) - w_{i-1} (R_(i) - R_(i-1));   A_(i) = A_(i-1) + w_i (R_(i) - R_(i-1)).
///          w_n = k / n and w_{i-1} = w_i (i - k) / (i - 1): no binomial is ever formed.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Units:   a sum over the group, as in the paper: where the loss is a mean over rows the gradient is 1 / n of it.
/// Degenerate: fewer than k rows with a reward: k is their number. leave_one_out: a group of one, equal rewards: 0;
///          score: equal rewards all get k / n R, as in reinforce without a baseline. A row without a reward: 0.
/// Errors:  shape_error; option_error.
/// Needs:   rows of a group are independent samples of the same prompt.
/// Source:  Walder and Karkhanis 2025, arXiv 2505.15201; the recurrences by summation by parts.
struct pkpo {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    std::size_t k = 4;           ///< at least 2 (score: 1) and at most group_size
    pkpo_form form = pkpo_form::leave_one_out;

    void check() const {
        detail::check_option(k >= (form == pkpo_form::score ? 1u : 2u) && (group_size == 0 || k <= group_size), "pkpo",
                             "k", "at least 2 (score: 1) and at most .group_size", static_cast<double>(k));
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        return detail::estimate_by_order(
            terms, work, advantage, "pkpo",
            [this](std::span<const double> reward, std::span<double> out) { estimate(reward, out); });
    }

private:
    void estimate(std::span<const double> reward, std::span<double> out) const {
        const std::size_t n = reward.size(), best_of = k < n ? k : n;
        double w = static_cast<double>(best_of) / static_cast<double>(n), s = w * reward[n - 1];
        for (std::size_t i = n; i > 1; --i) {
            const double gain = centred(reward[i - 1], reward[i - 2]);
            out[i - 1] = form == pkpo_form::score ? s : w * gain;
            w *= i > best_of ? static_cast<double>(i - best_of) / static_cast<double>(i - 1) : 0;
            s -= w * gain;
        }
        if (form == pkpo_form::score) out[0] = s;
        if (form == pkpo_form::leave_one_out)
            for (std::size_t i = 1; i < n; ++i) out[i] += out[i - 1];
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
