#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// GDPO: several rewards, each normalised in its group before they are added, so that none drowns the others.
/// Formula: z_k = (r_k - mean_gk) / (deviation_gk + epsilon) on the rows that reward k applies to;
///          S = sum of weight_k z_k;  A = S / (deviation of S over the step's rows + epsilon); deviations with Bessel.
///          The mean of S is 0 and not subtracted. TRL does the same; verl whitens S over tokens instead.
///          The token rewards of a row, summed, are one more reward, the last one.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a reward that is equal in the group, or applies to one of its rows only, adds 0 there; no spread at all:
///          0; a row without a reward: 0, and it is in no deviation.
/// Errors:  shape_error; option_error.
/// Needs:   weights here: those of the reward stage cancel, because each reward is divided by its own deviation.
/// Source:  Liu et al. 2026, arXiv 2601.05242.
struct gdpo {
    using role = role::advantage;
    std::size_t group_size = 8;    ///< samples a prompt that the trainer draws; 0: the whole step is one group
    double epsilon = 0;            ///< >= 0, added to both deviations; TRL: 1e-4
    std::vector<double> weight{};  ///< finite, one a reward; empty: 1 each

    void check() const {
        detail::check_option(epsilon >= 0, "gdpo", "epsilon", "0 or positive", epsilon);
        for (const double w : weight)
            detail::check_option(std::abs(w) < std::numeric_limits<double>::infinity(), "gdpo", "weight",
                                 "finite numbers", w);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_advantage_terms(terms, advantage, "gdpo");
        const std::size_t rows = advantage.rows();
        const std::size_t rewards = terms.reward.outcome.size() + !terms.reward.token.empty();
        detail::check_option(weight.empty() || weight.size() == rewards, "gdpo", "weight",
                             short_text("one for each of ", rewards, " rewards").c_str(),
                             static_cast<double>(weight.size()));
        std::vector<double>&total = work.a, &mean = work.b, &deviation = work.d, &count = work.e;
        total.assign(rows, std::numeric_limits<double>::quiet_NaN());
        std::size_t k = 0;
        detail::for_each_row_reward(terms, [&](auto&& reward_of) {
            for (std::vector<double>* x : {&mean, &deviation, &count}) x->assign(terms.group.count, 0.0);
            const auto for_each_row = [&](auto&& f) {
                for (std::size_t i = 0; i < rows; ++i) {
                    const double r = reward_of(i);
                    if (!is_nan(&r)) f(i, terms.group.id[i], r);
                }
            };
            for_each_row([&](std::size_t, std::size_t g, double r) { mean[g] += r, count[g] += 1; });
            for (std::size_t g = 0; g < terms.group.count; ++g)
                if (count[g] > 0) mean[g] /= count[g];
            for_each_row([&](std::size_t, std::size_t g, double r) { deviation[g] += (r - mean[g]) * (r - mean[g]); });
            for (std::size_t g = 0; g < terms.group.count; ++g) {
                deviation[g] = count[g] > 1 ? std::sqrt(deviation[g] / (count[g] - 1)) : 0;
                if (is_constant(deviation[g], mean[g])) deviation[g] = 0;
            }
            const double w = weight.empty() ? 1 : weight[k++];
            for_each_row([&](std::size_t i, std::size_t g, double r) {
                if (is_nan(&total[i])) total[i] = 0;
                if (deviation[g] > 0) total[i] += w * (r - mean[g]) / (deviation[g] + epsilon);
            });
        });
        mean.assign(terms.group.count, 0.0);
        const double constant = detail::find_constant_groups(terms.group, work);
        const double spread = moments_of(detail::span_of(total)).deviation();
        double largest = weight.empty() ? 1 : 0;  // a factor that all weights share changes nothing
        for (const double w : weight) largest = std::fmax(largest, std::abs(w));
        for (double& s : total) s = spread > 1e-6 * largest ? s / (spread + epsilon) : 0;
        detail::nan_to_zero(total);
        return detail::finish_rows(detail::span_of(total), terms.mask, advantage, constant);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
