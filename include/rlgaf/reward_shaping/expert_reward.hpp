#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

/// Rewards that compare a row's score s with that of its demonstration, e: delta = e - s. What is common to the rows of
/// a prompt drops out. Each adds the outcome "discriminator" [B], the mean over `width` numbers a row. A NaN of either
/// stays NaN. Errors: shape_error where score and expert_score are not [B * width]; option_error.
/// Needs: expert_score, which the trainer gives where needs_expert_score is set.
namespace rlgaf::inline RLGAF_ABI {

/// Formula: r = log P(policy's answer wins) = -softplus(delta) <= 0. Survival bias: shorter rows.
/// Source:  Jolicoeur-Martineau 2018, arXiv 1807.00734 (RpGAN); Bradley and Terry 1952.
struct bradley_terry_reward {
    using role = role::reward;
    static constexpr bool needs_expert_score = true;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_expert_scores(terms, out, "bradley_terry_reward");
        detail::add_score_reward(
            out, terms.width, [](T s, T e) { return log_sigmoid(s - e); }, terms.score, terms.expert_score);
    }
};

/// Formula: r = p_policy + reward_of_tie p_tie, p_policy = sigmoid(-delta - log theta),
///          p_tie = sigmoid(log theta - delta) - p_policy.
/// Survival bias: longer rows.
/// Source:  Rao and Kupper 1967; paid as in RARO, Cai and Provilkov 2025, arXiv 2511.21667.
struct rao_kupper_reward {
    using role = role::reward;
    static constexpr bool needs_expert_score = true;
    double theta = 2;            ///< finite, >= 1: what the discriminator's loss has; 1: no ties
    double reward_of_tie = 0.6;  ///< in [0, 1]

    void check() const {
        detail::check_option(theta >= 1 && theta < std::numeric_limits<double>::infinity(), "rao_kupper_reward",
                             "theta", "a finite number of at least 1", theta);
        detail::check_option(reward_of_tie >= 0 && reward_of_tie <= 1, "rao_kupper_reward", "reward_of_tie",
                             "in [0, 1]", reward_of_tie);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_expert_scores(terms, out, "rao_kupper_reward");
        const T eta = static_cast<T>(std::log(theta));
        const T tied = static_cast<T>(reward_of_tie * (theta - 1) * (theta + 1) / (theta * theta));
        const auto reward = [eta, tied](T s, T e) {  // p_tie without cancellation
            const T delta = e - s;
            return sigmoid(-delta - eta) + tied * sigmoid(eta - delta) * sigmoid(eta + delta);
        };
        detail::add_score_reward(out, terms.width, reward, terms.score, terms.expert_score);
    }
};

/// Formula: r = (exp(-delta / 2) + reward_of_tie nu) / (exp(delta / 2) + exp(-delta / 2) + nu).
/// Survival bias: longer rows.
/// Source:  Davidson 1970; paid as in RARO, Cai and Provilkov 2025, arXiv 2511.21667.
struct davidson_reward {
    using role = role::reward;
    static constexpr bool needs_expert_score = true;
    double nu = 1;               ///< finite, >= 0: what the discriminator's loss has; 0: no ties
    double reward_of_tie = 0.6;  ///< in [0, 1]

    void check() const {
        detail::check_option(nu >= 0 && nu < std::numeric_limits<double>::infinity(), "davidson_reward", "nu",
                             "a finite number that is 0 or positive", nu);
        detail::check_option(reward_of_tie >= 0 && reward_of_tie <= 1, "davidson_reward", "reward_of_tie", "in [0, 1]",
                             reward_of_tie);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_expert_scores(terms, out, "davidson_reward");
        const auto reward = [odds = static_cast<T>(nu), tied = static_cast<T>(reward_of_tie * nu)](T s, T e) {
            const T delta = e - s, small = detail::exponential_decay(delta / 2);
            return (detail::choose(delta > 0, small * small, T{1}) + tied * small) / (1 + small * small + odds * small);
        };
        detail::add_score_reward(out, terms.width, reward, terms.score, terms.expert_score);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
