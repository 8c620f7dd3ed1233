#pragma once
#include <vector>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/math/groups.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Online DPO: one pair a prompt from the scores of fresh samples (here: the discriminator's), for dpo with a fixed
/// reference. Two samples a prompt are the paper's algorithm, more are best against worst.
/// Formula: chosen = first row of the group's largest score, rejected = last row of its smallest; no pair if
///          largest - smallest <= tolerance.
/// Shapes:  score [B]; pairs overwritten, at most one a group, in order of group, weight 1.
/// Degenerate: a row whose score is NaN takes no part; fewer than two rows with a score: no pair.
/// Errors:  shape_error; option_error. No allocation once `work` and `pairs` have grown.
/// Source:  Guo et al. 2024, arXiv 2402.04792, algorithm 1. TRL makes a pair of a tie, the first sample chosen
///          (tolerance = -1); the default does not, because a tie says nothing.
struct online_dpo {
    double tolerance = 0;  ///< finite; negative: every prompt gives a pair, and of equal scores the first is chosen

    void check() const {
        detail::check_option(
            tolerance > -std::numeric_limits<double>::infinity() && tolerance < std::numeric_limits<double>::infinity(),
            "online_dpo", "tolerance", "a finite number", tolerance);
    }

    template <class T>
    void operator()(std::span<const T> score, const groups& group, workspace& work,
                    std::vector<preference_pair>& pairs) const {
        check();
        detail::check_groups(group, score.size(), "online_dpo");
        pairs.clear();
        const std::size_t none = score.size();
        work.index.assign(2 * group.count, none);
        const std::span<std::size_t> best = detail::span_of(work.index, 0, group.count);
        const std::span<std::size_t> worst = detail::span_of(work.index, group.count, group.count);
        for (std::size_t i = 0; i < score.size(); ++i) {
            const double s = static_cast<double>(score[i]);
            if (is_nan(&s)) continue;
            const std::size_t g = group.id[i];
            if (best[g] == none || score[i] > score[best[g]]) best[g] = i;
            if (worst[g] == none || score[i] <= score[worst[g]]) worst[g] = i;
        }
        for (std::size_t g = 0; g < group.count; ++g) {
            if (best[g] == worst[g]) continue;
            const double gap = static_cast<double>(score[best[g]]) - static_cast<double>(score[worst[g]]);
            if (tolerance < 0 || gap > tolerance)
                pairs.push_back({static_cast<std::uint32_t>(best[g]), static_cast<std::uint32_t>(worst[g])});
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
