#pragma once
#include "rlgaf/policy_gradient/advantage/row_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Centred rewards over a Beta density of the group's success rate that follows the policy. With Beta(1, 1) this is
/// REINFORCE with a baseline, with Beta(3/2, 3/2) it is GRPO on 0/1 rewards up to a factor.
/// Formula: x = (R - low) / (high - low) within [0, 1]; p_g the mean of x in the group; m and v the mean and the
///          variance (with Bessel) of p over the groups of the step; c = m (1 - m) / v - 1;
///          A_i = (x_i - p_g) min(max_weight, 1 / Beta(p_g; max(1, 1 + c m / 3), max(1, 1 + c (1 - m) / 3))).
///          Several rewards: the mean of their advantages, each with a density of its own (the paper's decomposition).
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Units:   of rewards scaled to [0, 1]; a reward outside [low, high] counts as the bound (the authors' code asserts).
/// Degenerate: a group of one (the authors' code: p = 0), a group of equal rewards, a row without a reward: 0.
///          One group, or groups with equal means (the authors' code: NaN): weight 1.
/// Errors:  shape_error; option_error.
/// Needs:   rows of a group answer the same prompt. Not TRL's loss_type "bnpo", which is an aggregation.
/// Source:  Xiao et al. 2025, arXiv 2506.02864; bounds and thirds as in the authors' code.
struct bnpo {
    using role = role::advantage;
    std::size_t group_size = 8;     ///< samples a prompt that the trainer draws; 0: the whole step is one group
    double low = 0;                 ///< smallest reward, finite
    double high = 1;                ///< largest reward, finite, above low
    double max_weight = 1'000'000;  ///< > 0: bounds 1 / density

    void check() const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(std::abs(low) < infinity, "bnpo", "low", "a finite number", low);
        detail::check_option(high > low && high < infinity, "bnpo", "high", "a finite number above .low", high);
        detail::check_option(max_weight > 0, "bnpo", "max_weight", "positive", max_weight);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_advantage_terms(terms, advantage, "bnpo");
        const std::size_t rows = advantage.rows();
        const std::span<const std::uint32_t> group = terms.group.id;
        std::vector<double>&a = work.a, &p = work.b, &count = work.c, &weight = work.d, &spread = work.e;
        a.assign(rows, 0.0);
        spread.assign(terms.group.count, std::numeric_limits<double>::quiet_NaN());
        double rewards = 0;
        detail::for_each_row_reward(terms, [&](auto&& reward_of) {
            rewards += 1;
            const auto scaled = [&](double r) { return std::fmin(std::fmax((r - low) / (high - low), 0), 1); };
            p.assign(terms.group.count, 0.0);
            count.assign(terms.group.count, 0.0);
            for (std::size_t i = 0; i < rows; ++i) {
                const double r = reward_of(i);
                if (is_nan(&r)) continue;
                p[group[i]] += scaled(r);
                count[group[i]] += 1;
            }
            for (std::size_t g = 0; g < p.size(); ++g)
                p[g] = count[g] > 0 ? p[g] / count[g] : std::numeric_limits<double>::quiet_NaN();
            find_weights(p, weight);
            for (std::size_t i = 0; i < rows; ++i) {
                const double r = reward_of(i);
                if (is_nan(&r)) continue;
                const std::size_t g = group[i];
                const double d = centred(scaled(r), p[g]);
                a[i] += d * weight[g];
                spread[g] = std::fmax(std::abs(d), spread[g]);
            }
        });
        double filled = 0, constant = 0;
        for (const double& s : spread) {
            filled += !is_nan(&s);
            constant += !is_nan(&s) && is_constant(s, 0);
        }
        for (double& v : a) v /= std::fmax(1, rewards);
        return detail::finish_rows(detail::span_of(a), terms.mask, advantage, filled > 0 ? constant / filled : 0);
    }

private:
    /// min(max_weight, 1 / density) of each p; 1 where there is no density to speak of.
    void find_weights(const std::vector<double>& p, std::vector<double>& weight) const {
        weight.assign(p.size(), 1.0);
        const moments over_groups = moments_of(detail::span_of(p));
        if (is_constant(over_groups.deviation(), over_groups.mean)) return;
        const double m = over_groups.mean, c = m * (1 - m) / over_groups.variance() - 1;
        const double alpha = std::fmax(1, 1 + c * m / 3), beta = std::fmax(1, 1 + c * (1 - m) / 3);
        const double log_norm = std::lgamma(alpha) + std::lgamma(beta) - std::lgamma(alpha + beta);
        for (std::size_t g = 0; g < p.size(); ++g)
            if (p[g] > 0 && p[g] < 1)
                weight[g] = std::fmin(max_weight, std::exp(std::fmin(700, log_norm - (alpha - 1) * std::log(p[g]) -
                                                                              (beta - 1) * std::log1p(-p[g]))));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
