#pragma once
#include "rlgaf/reward_shaping/stage.hpp"
#include "rlgaf/reward_shaping/transport.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows are paid by how far they have to be carried to become the demonstrations: entropy-regularised optimal transport
/// of features. No discriminator is trained. Adds the outcome "discriminator" [B].
/// Formula: r_i = -scale m sum_j P_ij C_ij, C_ij = 1 - cos(x_i, e_j), P = argmin sum P C - epsilon H(P) over plans that
///          give each of m rows 1 / m and each of n demonstrations 1 / n; found by `iterations` of Sinkhorn's, in
///          logarithms.
/// Shapes:  score [B * width]: features of the rows, not scores; expert_score [B * width]: of their demonstrations.
/// Units:   in [-2 scale, 0]. Survival bias: shorter rows, where it is paid for steps of an episode.
/// Degenerate: a feature vector of 0 is at distance 1 of everything. A row or demonstration that is not finite takes no
///          part; that row's reward is NaN, and so are all of them where no demonstration is left.
/// Errors:  shape_error; option_error.
/// Needs:   B^2 (width + 2 iterations) operations and B^2 numbers.
/// Source:  Cuturi 2013, arXiv 1306.0895; as a reward: Papagiannis and Li 2020, arXiv 2008.09167; Haldar et al. 2022,
///          arXiv 2206.15469 (ROT), there between the steps of two episodes: step_transport_reward.
struct optimal_transport_reward {
    using role = role::reward;
    static constexpr bool needs_expert_score = true;
    double scale = 1;                ///< > 0
    double epsilon = 0.05;           ///< > 0, in units of C: small is sharp and slow to converge
    std::uint32_t iterations = 100;  ///< > 0

    void check() const {
        detail::check_option(scale > 0, "optimal_transport_reward", "scale", "positive", scale);
        detail::check_option(epsilon > 0, "optimal_transport_reward", "epsilon", "positive", epsilon);
        detail::check_option(iterations > 0, "optimal_transport_reward", "iterations", "positive", iterations);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        detail::check_expert_scores(terms, out, "optimal_transport_reward");
        work.index.clear();  // those that take part: first rows, then demonstrations
        list_norms(terms.score, terms.width, out.rows(), work.d, work.index);
        const std::size_t m = work.index.size();
        list_norms(terms.expert_score, terms.width, out.rows(), work.e, work.index);
        const std::size_t n = work.index.size() - m;
        std::vector<double>& cost = work.a;  // in units of epsilon
        cost.resize(m * n);
        for (std::size_t i = 0; i < m; ++i)
            for (std::size_t j = 0; j < n; ++j) {
                const std::size_t x = work.index[i], e = work.index[m + j];
                double dot = 0;
                for (std::size_t k = 0; k < terms.width; ++k)
                    dot += static_cast<double>(terms.score[x * terms.width + k]) *
                           static_cast<double>(terms.expert_score[e * terms.width + k]);
                const double norms = work.d[x] * work.e[e];
                cost[i * n + j] = (1 - (norms > 0 ? dot / norms : 0)) / epsilon;
            }
        const std::span<double> r = out.add_outcome("discriminator");
        for (double& v : r) v = std::numeric_limits<double>::quiet_NaN();
        if (m == 0 || n == 0) return;
        work.e.resize(m);
        detail::carry(detail::span_of(cost), m, n, iterations, work.b, work.c, detail::span_of(work.e));
        for (std::size_t i = 0; i < m; ++i) r[work.index[i]] = -scale * epsilon * work.e[i];
    }

private:
    template <class T>
    static void list_norms(std::span<const T> x, std::size_t width, std::size_t rows, std::vector<double>& norm,
                           std::vector<std::size_t>& number) {
        norm.assign(rows, 0.0);
        for (std::size_t i = 0; i < rows; ++i) {
            for (const T v : x.subspan(i * width, width)) norm[i] += static_cast<double>(v) * static_cast<double>(v);
            norm[i] = std::sqrt(norm[i]);
            if (first_nonfinite(std::span<const double>(&norm[i], 1)) == 1) number.push_back(i);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
