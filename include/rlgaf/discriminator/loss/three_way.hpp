#pragma once
#include "rlgaf/discriminator/matched_pairs.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A critic of pairs that may call a tie: softmax over "the demonstration is better", "the sample is better" and
/// "neither".
/// Formula: p = softmax(z), z = score[j].  L = mean over pairs of
///          expected_reward: -J, J = p_0 + reward_of_tie p_2, what sampled verdicts earn on average;
///          likelihood: -(1 - tie) log p_0 - tie log p_2.
/// Shapes:  score, d_score [n, 3].
/// Adds:    with rho = (1, 0, reward_of_tie), n the number of pairs: expected_reward: d_score -= p_k (rho_k - J) / n;
///          likelihood: d_score += (p - (1 - tie, 0, tie)) / n.
/// Units:   rewards, or nats. A critic that believes in one of the two with probability b earns most with a tie exactly
///          where 1 - reward_of_tie <= b <= reward_of_tie: never below 0.5, and the higher the more often.
///          accuracy: share of pairs with z_0 above z_1; real_mean, fake_mean: of z_0, of z_1.
/// Degenerate: no pairs: loss 0, no gradient.
/// Errors:  shape_error; option_error.
/// Needs:   pairs shown in random order, or position tells (backend/pair_critic.hpp does).
/// Source:  Cai and Provilkov 2025, arXiv 2511.21667 (RARO); there a language model samples its verdict, here
///          the expectation is exact.
struct three_way {
    using role = role::discriminator_loss;
    static constexpr bool pair_level = true;
    tie_objective objective = tie_objective::expected_reward;
    double reward_of_tie = 0.55;  ///< in [0, 1]; of the critic, with expected_reward
    double tie = 0;  ///< in [0, 1): share of pairs labelled a tie, the others say that the demonstration is better

    void check() const { detail::check_tie_options(objective, tie, reward_of_tie, true, "three_way"); }

    template <class T>
    discriminator_loss_stats operator()(const pair_terms<T>& terms, std::span<T> d_score) const {
        check();
        const std::size_t pairs = terms.score.size() / 3;
        detail::check_size(terms.score.size(), 3 * pairs, "three_way", "score");
        detail::check_size(d_score.size(), terms.score.size(), "three_way", "d_score");
        discriminator_loss_stats stats;
        if (pairs == 0) return stats;
        const double n = static_cast<double>(pairs), rho[] = {1, 0, reward_of_tie}, label[] = {1 - tie, 0, tie};
        const bool rewarded = objective == tie_objective::expected_reward;
        double above = 0;
        for (std::size_t j = 0; j < pairs; ++j) {
            double z[3], p[3], total = 0, earned = 0, largest = -std::numeric_limits<double>::infinity();
            for (std::size_t k = 0; k < 3; ++k) {
                z[k] = static_cast<double>(terms.score[3 * j + k]);
                largest = z[k] > largest ? z[k] : largest;
            }
            for (std::size_t k = 0; k < 3; ++k) total += p[k] = std::exp(z[k] - largest);
            for (std::size_t k = 0; k < 3; ++k) p[k] /= total, earned += p[k] * rho[k];
            for (std::size_t k = 0; k < 3; ++k) {
                if (!rewarded) stats.loss += label[k] * (largest + std::log(total) - z[k]);
                d_score[3 * j + k] += static_cast<T>((rewarded ? p[k] * (earned - rho[k]) : p[k] - label[k]) / n);
            }
            if (rewarded) stats.loss -= earned;
            stats.real_mean += z[0], stats.fake_mean += z[1];
            above += 0.5 * (1 + (z[0] > z[1]) - (z[0] < z[1]));
        }
        stats.loss /= n, stats.real_mean /= n, stats.fake_mean /= n;
        stats.accuracy = above / n;
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
