#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/math/select.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows are paid for standing where demonstrations are and other samples are not: the witness of the maximum mean
/// discrepancy. No discriminator is trained. Adds the outcome "discriminator" [B].
/// Formula: r_i = mean_j k(x_i, e_j) - mean_j k(x_i, x_j), k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)), x_i itself
///          included.
/// Shapes:  score [B * width]: features of the rows, not scores; expert_score [B * width]: of their demonstrations.
/// Units:   in [-1, 1]. Survival bias: none on average.
/// Degenerate: all points the same: 0. A row or demonstration with a NaN takes no part; that row's reward is NaN.
/// Errors:  shape_error; option_error.
/// Needs:   width B^2 operations a step.
/// Source:  Gretton et al. 2012 (JMLR 13); as a generator's target: Li et al. 2015, arXiv 1502.02761.
struct mmd_reward {
    using role = role::reward;
    static constexpr bool needs_expert_score = true;
    double bandwidth = 0;  ///< >= 0; 0: the median of the distances from rows to demonstrations that are not 0

    void check() const { detail::check_option(bandwidth >= 0, "mmd_reward", "bandwidth", "0 or positive", bandwidth); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        detail::check_expert_scores(terms, out, "mmd_reward");
        const std::size_t rows = out.rows(), width = terms.width;
        const auto squared_distance = [&](std::size_t i, std::span<const T> other, std::size_t j) {
            double total = 0;
            for (std::size_t k = 0; k < width; ++k) {
                const double d =
                    static_cast<double>(terms.score[i * width + k]) - static_cast<double>(other[j * width + k]);
                total += d * d;
            }
            return total;
        };
        double square = bandwidth * bandwidth;
        if (bandwidth == 0) {
            work.a.clear();
            for (std::size_t i = 0; i < rows; ++i)
                for (std::size_t j = 0; j < rows; ++j)
                    if (const double d = squared_distance(i, terms.expert_score, j); d > 0) work.a.push_back(d);
            square = work.a.empty() ? 1 : kth_smallest(detail::span_of(work.a), work.a.size() / 2);
        }
        const auto mean_kernel = [&](std::size_t i, std::span<const T> other) {
            double total = 0, count = 0;
            for (std::size_t j = 0; j < rows; ++j) {
                const double d = squared_distance(i, other, j);
                if (!is_nan(&d)) total += detail::exponential_decay(d / (2 * square)), count += 1;
            }
            return total / count;
        };
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < rows; ++i) r[i] = mean_kernel(i, terms.expert_score) - mean_kernel(i, terms.score);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
