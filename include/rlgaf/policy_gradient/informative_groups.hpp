#pragma once
#include "rlgaf/policy_gradient/advantage/center.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct group_selection {
    std::size_t groups = 0;  ///< with a row that has a reward
    std::size_t kept = 0;
    double kept_share() const noexcept {
        return groups > 0 ? static_cast<double>(kept) / static_cast<double>(groups) : 0;
    }
};

/// Dynamic sampling's decision: which prompts' answers have something to teach. What drops is sampled anew, a bounded
/// number of times: that loop is the caller's.
/// Formula: a group is kept where the deviation of its rewards (Bessel) is above tolerance, and their mean in
///          (lowest, highest).
/// Shapes:  pick: the rows of the kept groups in their order, those without a reward too, so that groups stay whole.
/// Units:   those of the rewards, summed over a row.
/// At kinks: a deviation of tolerance, or a mean of a bound, is dropped.
/// Degenerate: a group of equal rewards, of one reward or none is dropped whatever the options; what counts as equal is
///          decided as in grpo, reward by reward.
/// Errors:  shape_error; option_error. No allocation once `work` and `pick` have grown; all of work is overwritten.
/// Needs:   rewards that a prompt's answers can have in common: a KL or length penalty differs in every group and keeps
///          it; give the policy a regulariser instead, or set tolerance.
/// Source:  Yu et al. 2025 (DAPO), arXiv 2503.14476, section 3.2; lowest, highest: OpenRLHF's dynamic_filtering (0, 1).
struct informative_groups {
    using role = rlgaf::role::row_choice;
    double tolerance = 0;                                      ///< finite, >= 0
    double lowest = -std::numeric_limits<double>::infinity();  ///< any number
    double highest = std::numeric_limits<double>::infinity();  ///< > lowest

    void check() const {
        detail::check_option(tolerance >= 0 && tolerance < std::numeric_limits<double>::infinity(),
                             "informative_groups", "tolerance", "finite, 0 or positive", tolerance);
        detail::check_option(lowest == lowest, "informative_groups", "lowest", "a number", lowest);
        detail::check_option(highest > lowest, "informative_groups", "highest", "above .lowest", highest);
    }

    template <class T>
    group_selection operator()(const reward_view<T>& reward, const groups& group, const mask_view& mask,
                               workspace& work, std::vector<std::size_t>& pick) const {
        check();
        const std::size_t rows = group.id.size(), n = group.count;
        for (const outcome_reward& r : reward.outcome)
            detail::check_size(r.value.size(), rows, "informative_groups", "reward.outcome");
        if (!reward.token.empty()) {
            detail::check_size(reward.token.rows(), rows, "informative_groups", "reward.token");
            detail::check_same_shape_if_given(reward.token, mask, "informative_groups", "mask");
        }
        detail::check_groups(group, rows, "informative_groups");
        const advantage_terms<T> terms{.reward = reward, .group = group, .mask = mask};
        detail::center_rewards(terms, rows, false, work);
        work.d.assign(n, 0.0);
        work.e.assign(2 * n, 0.0);
        double *const squares = work.d.data(), *const count = work.e.data(), *const mean = count + n;
        for (std::size_t i = 0; i < rows; ++i) {
            if (is_nan(&work.a[i])) continue;
            const std::size_t g = group.id[i];
            squares[g] += work.a[i] * work.a[i];
            count[g] += 1;
            mean[g] += work.c[i];
        }
        group_selection result;
        for (std::size_t g = 0; g < n; ++g) {
            const double deviation = count[g] > 1 ? std::sqrt(squares[g] / (count[g] - 1)) : 0;
            const double middle = count[g] > 0 ? mean[g] / count[g] : 0;
            const bool keep =
                deviation > tolerance && !is_constant(deviation, work.b[g]) && middle > lowest && middle < highest;
            result.groups += count[g] > 0;
            result.kept += keep;
            squares[g] = keep;
        }
        pick.clear();
        for (std::size_t i = 0; i < rows; ++i)
            if (squares[group.id[i]] != 0) pick.push_back(i);
        return result;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
