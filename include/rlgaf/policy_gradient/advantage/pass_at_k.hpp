#pragma once
#include "rlgaf/policy_gradient/advantage/ordered_groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pass@k training: what a row would get on average if its group were cut into sets of k at random, each set were paid
/// for its best row, and the sets were normalised as in GRPO. Exact, nothing is drawn.
/// Formula: N rows, F of them failures: q = C(F, k) / C(N, k), the share of sets without a success;
///          A = sqrt(q / (1 - q)) for a success, -(N - F) / F sqrt(q / (1 - q)) for a failure.
///          This is the paper's (1 - mean) / s and (1 - mean - C(F - 1, k - 1) / C(N - 1, k - 1)) / s with
///          mean = 1 - q, s = sqrt(q (1 - q)), without the cancellation. k = 1: GRPO with the biased deviation.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: all fail, or fewer than k do (every set passes), a group of one, a row without a reward: 0; these groups
///          count as constant. Fewer than k rows with a reward: k is their number.
/// Errors:  shape_error; option_error.
/// Needs:   rows of a group answer the same prompt; a row's total reward says whether it succeeded.
/// Source:  Chen et al. 2025, arXiv 2508.10751 (analytical derivation).
struct pass_at_k {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    std::size_t k = 4;           ///< at least 1 and at most group_size
    double threshold = 0;        ///< finite; a total reward above it is a success (0.5 for probabilities)

    void check() const {
        detail::check_option(k >= 1 && (group_size == 0 || k <= group_size), "pass_at_k", "k",
                             "at least 1 and at most .group_size", static_cast<double>(k));
        detail::check_option(std::abs(threshold) < std::numeric_limits<double>::infinity(), "pass_at_k", "threshold",
                             "a finite number", threshold);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        return detail::estimate_by_order(
            terms, work, advantage, "pass_at_k", [this](std::span<const double> reward, std::span<double> out) {
                const std::size_t n = reward.size(), set = k < n ? k : n;
                std::size_t failed = 0;
                while (failed < n && !(reward[failed] > threshold)) ++failed;
                if (failed == n || failed < set) return;
                double q = 1;
                for (std::size_t j = 0; j < set; ++j) q *= static_cast<double>(failed - j) / static_cast<double>(n - j);
                const double success = std::sqrt(q / (1 - q));
                const double failure = -success * static_cast<double>(n - failed) / static_cast<double>(failed);
                for (std::size_t j = 0; j < n; ++j) out[j] = j < failed ? failure : success;
            });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
