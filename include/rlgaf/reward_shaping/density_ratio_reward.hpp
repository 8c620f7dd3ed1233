#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows share one unit of reward by how much likelier the discriminator thinks an expert is to have written them:
/// MaliGAN's weights as a reward. Adds the outcome "discriminator" [B].
/// Formula: r_i = exp(s_i) / (sum of exp(s_j)) - 1 / m, over the m rows of the group (or of the step);
///          exp(s) = D / (1 - D).
/// Shapes:  score [B * width]; with several numbers a row the mean of their rewards.
/// Units:   a share; sums to 0. Survival bias: none on average.
/// Degenerate: equal scores, a group of one: 0. NaN takes no part and stays NaN.
/// Errors:  shape_error.
/// Needs:   the estimator `maligan` does this to logits by itself: do not use both.
/// Source:  Che et al. 2017, arXiv 1702.07983.
struct density_ratio_reward {
    using role = role::reward;
    bool per_group = false;  ///< compare the answers to one prompt; else all rows
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        detail::check_scores(terms, out, "density_ratio_reward");
        if (per_group) detail::check_groups(terms.group, out.rows(), "density_ratio_reward");
        const std::size_t groups = per_group ? terms.group.count : 1;
        std::vector<double>&largest = work.a, &total = work.b, &count = work.c, &weight = work.d;
        weight.resize(out.rows());
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t k = 0; k < terms.width; ++k) {
            largest.assign(groups, -std::numeric_limits<double>::infinity());
            total.assign(groups, 0.0);
            count.assign(groups, 0.0);
            const auto each = [&](auto&& f) {
                for (std::size_t i = 0; i < r.size(); ++i)
                    f(i, per_group ? terms.group.id[i] : 0, static_cast<double>(terms.score[i * terms.width + k]));
            };
            each([&](std::size_t, std::size_t g, double s) { largest[g] = std::fmax(largest[g], s); });
            each([&](std::size_t i, std::size_t g, double s) { weight[i] = s - largest[g]; });
            for (double& w : weight) w = exponential(w);
            each([&](std::size_t i, std::size_t g, double s) {
                if (!is_nan(&s)) total[g] += weight[i], count[g] += 1;
            });
            each([&](std::size_t i, std::size_t g, double) {
                r[i] += (weight[i] / total[g] - 1 / count[g]) / static_cast<double>(terms.width);
            });
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
