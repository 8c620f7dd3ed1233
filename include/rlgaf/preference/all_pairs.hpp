#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/math/groups.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Every pair of answers to the same prompt, from scores or a ranking (score = -rank), to train a reward model on.
/// Formula: all {i, j} of a group with score_i - score_j > tolerance; weight 1 / (number of pairs of the group), so
///          that every prompt counts the same however many answers it has.
/// Shapes:  score [B]; pairs overwritten, at most K (K - 1) / 2 a group of K.
/// Degenerate: a row whose score is NaN is in no pair; equal scores make none; a group without pairs has no weight.
/// Errors:  shape_error; option_error. No allocation once `work` and `pairs` have grown.
/// Source:  Ouyang et al. 2022, arXiv 2203.02155, section 3.5 (there 1 / C(K, 2), without ties).
struct all_pairs {
    double tolerance = 0;  ///< >= 0: scores that differ by no more are a tie

    void check() const { detail::check_option(tolerance >= 0, "all_pairs", "tolerance", "0 or positive", tolerance); }

    template <class T>
    void operator()(std::span<const T> score, const groups& group, workspace& work,
                    std::vector<preference_pair>& pairs) const {
        check();
        detail::check_groups(group, score.size(), "all_pairs");
        pairs.clear();
        const std::size_t none = score.size();
        std::vector<std::size_t>& before =
            work.index;  // a group's last row so far [count], then a row's forerunner [B]
        before.assign(group.count + score.size(), none);
        work.a.assign(group.count, 0.0);
        for (std::size_t i = 0; i < score.size(); ++i) {
            const double s = static_cast<double>(score[i]);
            if (is_nan(&s)) continue;
            const std::size_t g = group.id[i];
            for (std::size_t j = before[g]; j != none; j = before[group.count + j]) {
                const double gap = s - static_cast<double>(score[j]);
                if (!(std::abs(gap) > tolerance)) continue;
                const auto above = static_cast<std::uint32_t>(gap > 0 ? i : j);
                pairs.push_back({above, static_cast<std::uint32_t>(i + j - above)});
                work.a[g] += 1;
            }
            before[group.count + i] = before[g];
            before[g] = i;
        }
        for (preference_pair& pair : pairs) pair.weight = 1 / work.a[group.id[pair.chosen]];
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
