#pragma once
#include "rlgaf/discriminator/matched_pairs.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Pairwise loss with ties, whose odds against a win fall with the square root of the odds between the two.
/// Formula: delta = real[real_of_fake[j]] - fake[j], Z = exp(delta / 2) + exp(-delta / 2) + nu:
///          p_win = exp(delta / 2) / Z, p_lose = exp(-delta / 2) / Z, p_tie = nu / Z.  L = mean over samples of
///          likelihood: -(1 - tie) log p_win - tie log p_tie;   expected_reward: -(p_win + reward_of_tie p_tie).
/// Shapes:  real [n_real], fake [n_fake]; K samples may share a demonstration.
/// Adds:    with g_j = dL/ddelta: d_real[real_of_fake[j]] += g_j, d_fake[j] -= g_j, 1 / n_fake included;
///          likelihood: -(1 - tie) (p_lose + p_tie / 2) + tie (p_win - p_lose) / 2;   expected_reward:
///          -p_win (p_lose + p_tie / 2) + reward_of_tie p_tie (p_win - p_lose) / 2.
/// Units:   nats, or rewards. Scores are fixed only up to a constant a prompt.
/// Degenerate: no samples: loss 0, no gradient. nu = 0: there are no ties, the loss is that of bradley_terry.
/// Errors:  shape_error; option_error.
/// Source:  Davidson 1970, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments";
///          the reward: Cai and Provilkov 2025, arXiv 2511.21667 (RARO).
struct davidson {
    using role = role::discriminator_loss;
    double nu = 1;   ///< in [0, 1e30]; at equal scores a tie has the probability nu / (2 + nu)
    double tie = 0;  ///< in [0, 1): share of pairs labelled a tie, the others say that the demonstration wins
    tie_objective objective = tie_objective::likelihood;
    double reward_of_tie = 0.55;  ///< in [0, 1]; of the critic, with expected_reward

    void check() const {
        detail::check_option(nu >= 0 && nu <= 1e30, "davidson", "nu", "in [0, 1e30]", nu);
        detail::check_tie_options(objective, tie, reward_of_tie, nu > 0, "davidson");
    }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake) const {
        check();
        // formula(gap, total of the odds, probabilities that the demonstration wins, the sample wins, neither)
        const auto with_model = [&](auto formula) {
            return detail::map_pairs(terms, d_real, d_fake, "davidson", [formula, odds = static_cast<T>(nu)](T a, T b) {
                const T gap = a - b, small = detail::exponential_decay(gap / 2);
                const T total = 1 + small * small + odds * small, share = 1 / total;  // Z exp(-|gap| / 2)
                const T less = small * small * share;
                return formula(gap, total, detail::choose(gap < 0, less, share), detail::choose(gap < 0, share, less),
                               odds * small * share);
            });
        };
        if (objective == tie_objective::expected_reward)
            return with_model([reward = static_cast<T>(reward_of_tie)](T, T, T win, T lose, T tied) {
                return detail::of_gap(-win - reward * tied,
                                      -win * (lose + tied / 2) + reward * tied * (win - lose) / 2);
            });
        const T log_nu = static_cast<T>(tie > 0 ? std::log(nu) : 0);
        return with_model([t = static_cast<T>(tie), log_nu](T gap, T total, T win, T lose, T tied) {
            const T log_total = detail::log_of_normal(total);
            const T loss_of_win = log_total - detail::choose(gap < 0, gap, T{0});
            const T loss_of_tie = log_total + std::abs(gap) / 2 - log_nu;
            return detail::of_gap((1 - t) * loss_of_win + t * loss_of_tie,
                                  -(1 - t) * (lose + tied / 2) + t * (win - lose) / 2);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
