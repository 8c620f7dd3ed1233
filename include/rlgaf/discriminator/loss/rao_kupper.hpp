#pragma once
#include "rlgaf/discriminator/matched_pairs.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pairwise loss with ties: there is a tie where neither score is clearly above the other.
/// Formula: eta = log(theta), delta = real[real_of_fake[j]] - fake[j]:  p_win = sigmoid(delta - eta), p_lose =
///          sigmoid(-delta - eta), p_tie = (theta^2 - 1) p_win p_lose, which is what is left.  L = mean over samples of
///          likelihood: -(1 - tie) log p_win - tie log p_tie;   expected_reward: -(p_win + reward_of_tie p_tie).
/// Shapes:  real [n_real], fake [n_fake]; K samples may share a demonstration.
/// Adds:    with g_j = dL/ddelta: d_real[real_of_fake[j]] += g_j, d_fake[j] -= g_j, 1 / n_fake included;
///          likelihood: -sigmoid(eta - delta) + tie sigmoid(delta + eta);   expected_reward:
///          -(1 - reward_of_tie) p_win (1 - p_win) - reward_of_tie p_lose (1 - p_lose).
/// Units:   nats, or rewards. Scores are fixed only up to a constant a prompt.
/// Degenerate: no samples: loss 0, no gradient. theta = 1: there are no ties, the loss is that of bradley_terry.
/// Errors:  shape_error; option_error.
/// Source:  Rao and Kupper 1967, "Ties in paired-comparison experiments"; the reward: Cai and Provilkov 2025,
///          arXiv 2511.21667 (RARO).
struct rao_kupper {
    using role = role::discriminator_loss;
    double theta = 2;  ///< >= 1; at equal scores a tie has the probability (theta - 1) / (theta + 1)
    double tie = 0;    ///< in [0, 1): share of pairs labelled a tie, the others say that the demonstration wins
    tie_objective objective = tie_objective::likelihood;
    double reward_of_tie = 0.55;  ///< in [0, 1]; of the critic, with expected_reward

    void check() const {
        detail::check_option(theta >= 1 && theta < std::numeric_limits<double>::infinity(), "rao_kupper", "theta",
                             "a number of at least 1", theta);
        detail::check_tie_options(objective, tie, reward_of_tie, theta > 1, "rao_kupper");
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        const T eta = static_cast<T>(std::log(theta)), r = static_cast<T>(reward_of_tie), t = static_cast<T>(tie);
        if (objective == tie_objective::expected_reward)
            return detail::map_pairs(terms, d_real, d_fake, "rao_kupper", [=](T a, T b) {
                const auto win = softplus_and_slope(a - b - eta), not_lose = softplus_and_slope(a - b + eta);
                return detail::of_gap((r - 1) * win.slope - r * not_lose.slope,
                                      (r - 1) * win.slope * win.rest - r * not_lose.slope * not_lose.rest);
            });
        // -log p_tie = -log(theta^2 - 1) - log p_win - log p_lose
        const T constant = static_cast<T>(tie > 0 ? -tie * (std::log(theta - 1) + std::log(theta + 1)) : 0);
        return detail::map_pairs(terms, d_real, d_fake, "rao_kupper", [=](T a, T b) {
            const auto not_win = softplus_and_slope(eta - (a - b)), not_lose = softplus_and_slope(a - b + eta);
            return detail::of_gap(not_win.value + t * not_lose.value + constant, t * not_lose.slope - not_win.slope);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
