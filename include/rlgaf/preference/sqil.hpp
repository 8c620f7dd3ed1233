#pragma once
#include <cmath>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/core/token_map.hpp"
#include "rlgaf/preference/sqil_terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What comes after a row that ended by itself.
enum class sqil_end {
    zero,      ///< nothing: V = 0. Every step before it earns something, and the policy learns to put the end off
    absorbing  ///< a state that nobody leaves, where both sides go on earning m, their mean: V = m / (1 - discount)
};

/// Soft Q imitation learning: reward 1 for what demonstrations do, 0 for what the policy does, no discriminator. The
/// policy's logits are action values, and the loss is their squared soft Bellman error. (As a policy gradient the same
/// rewards teach nothing: they are constant on the policy's own rows, where a constant has no expected gradient.)
/// Formula: Q_t = alpha (log_prob_t + log_normalizer_t), which is alpha times the token's logit;
///          V_t = alpha log_normalizer_t = alpha log(sum of exp(Q / alpha)), so that softmax(Q / alpha) is the policy;
///          delta_t = Q_t - (reward - m + discount V of the next unmasked token), V = 0 after the end of the row;
///          m = 0 (zero), (expert_reward + policy_weight policy_reward) / (1 + policy_weight) (absorbing): Q and V are
///          counted from the absorbing state's, so that logits stay small and discount may be 1;
///          L = mean over demonstrations' steps of delta^2 + policy_weight mean over the others' of delta^2.
/// Shapes:  log_prob, log_normalizer, their gradients [B, length]; expert, truncated, bootstrap [B].
/// Adds:    g_t = 2 share alpha delta_t to d_log_prob_t and d_log_normalizer_t; with residual_gradient also
///          -discount g_t to d_log_normalizer of the next unmasked token, if it is not constant. Without it the next
///          state's V is a constant: a semi-gradient, as in Q-learning.
/// Units:   those of the rewards; alpha of them are a nat.
/// Degenerate: a side without steps adds nothing; a row without unmasked tokens has none; a truncated row without a
///          bootstrap has one fewer than tokens, its last token's V being what comes after the one before.
/// Errors:  shape_error; option_error, also for residual_gradient with a target. No allocation.
/// Fixed point: with a small alpha the policy nears the demonstrations, where all that it does earns the same; a large
///          alpha leaves it more random, and longer.
/// Needs:   logits as the network gives them, at the sampling temperature 1. Log-probs do not do: their V is 0
///          everywhere, and what V should be is lost. Here a constant added to all logits of a state changes the loss,
///          though not the policy; the gradient in that direction is real and must reach the parameters. The n-gram and LSTM
///          policies and LibTorch modules that return logits do so.
/// Source:  Reddy, Dragan, Levine 2019, arXiv 1905.11108, algorithm 1. Absorbing states: Kostrikov et al. 2018, arXiv
///          1809.02925.
struct sqil {
    static constexpr bool row_separable = false;
    double alpha = 0.1;      ///< finite, > 0: a reward of 1 moves a logit by 1 / alpha; at the paper's 1 too little
    double discount = 0.99;  ///< in [0, 1]
    bool residual_gradient = false;
    sqil_end end = sqil_end::absorbing;
    double expert_reward = 1, policy_reward = 0;  ///< finite
    double policy_weight = 1;                     ///< lambda of the paper; finite, >= 0

    void check() const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(alpha > 0 && alpha < infinity, "sqil", "alpha", "finite and positive", alpha);
        detail::check_option(discount >= 0 && discount <= 1, "sqil", "discount", "in [0, 1]", discount);
        detail::check_option(expert_reward > -infinity && expert_reward < infinity, "sqil", "expert_reward",
                             "a finite number", expert_reward);
        detail::check_option(policy_reward > -infinity && policy_reward < infinity, "sqil", "policy_reward",
                             "a finite number", policy_reward);
        detail::check_option(policy_weight >= 0 && policy_weight < infinity, "sqil", "policy_weight",
                             "finite, 0 or positive", policy_weight);
    }
    /// What the absorbing state earns; it is taken off every reward.
    double baseline() const {
        return end == sqil_end::zero ? 0 : (expert_reward + policy_weight * policy_reward) / (1 + policy_weight);
    }

    template <class T>
    sqil_stats operator()(const sqil_terms<T>& terms, const ragged_view<T>& d_log_prob,
                          const ragged_view<T>& d_log_normalizer) const {
        check();
        const std::size_t rows = terms.log_prob.rows();
        detail::check_same_shape(terms.log_prob, terms.log_normalizer, "sqil", "terms.log_normalizer");
        detail::check_size(terms.expert.size(), rows, "sqil", "terms.expert");
        if (!terms.truncated.empty()) detail::check_size(terms.truncated.size(), rows, "sqil", "terms.truncated");
        if (!terms.bootstrap.empty()) detail::check_size(terms.bootstrap.size(), rows, "sqil", "terms.bootstrap");
        detail::check_same_shape_if_given(terms.log_prob, terms.target_log_normalizer, "sqil",
                                          "terms.target_log_normalizer");
        detail::check_same_shape_if_given(terms.log_prob, terms.mask, "sqil", "terms.mask");
        detail::check_same_shape(terms.log_prob, d_log_prob, "sqil", "d_log_prob");
        detail::check_same_shape(terms.log_prob, d_log_normalizer, "sqil", "d_log_normalizer");
        detail::check_option(!residual_gradient || terms.target_log_normalizer.empty(), "sqil", "residual_gradient",
                             "off where the next state's V is another policy's", 1);

        double steps[2] = {};  // of the policy, of the demonstrations
        for (std::size_t b = 0; b < rows; ++b) steps[is_expert(terms, b)] += count_steps(terms, b);
        sqil_stats stats{.expert_steps = steps[1], .policy_steps = steps[0]};
        for (std::size_t b = 0; b < rows; ++b) {
            const bool expert = is_expert(terms, b);
            const double mean = 1 / steps[expert], share = expert ? mean : policy_weight * mean;
            const double reward = expert ? expert_reward : policy_reward, m = baseline(), scale = 2 * share * alpha;
            const double passed_on = residual_gradient ? -discount : 0;
            const std::span<T> d = d_log_prob.row(b), d_normalizer = d_log_normalizer.row(b);
            double from_before = 0, squares = 0, rewards = 0;
            for_each_step(
                terms, b,
                [&](std::size_t t, double q, double next) {
                    const double taken = q - discount * next + m, delta = taken - reward, g = scale * delta;
                    squares += delta * delta;
                    rewards += taken;
                    d[t] += static_cast<T>(g);
                    d_normalizer[t] += static_cast<T>(g + from_before);
                    from_before = passed_on * g;
                },
                [&](std::size_t t) { d_normalizer[t] += static_cast<T>(from_before); });
            stats.loss += steps[expert] > 0 ? share * squares : 0;
            (expert ? stats.expert_reward : stats.policy_reward) += steps[expert] > 0 ? mean * rewards : 0;
        }
        return stats;
    }

private:
    template <class T>
    static bool is_expert(const sqil_terms<T>& terms, std::size_t b) {
        return terms.expert[b] != 0;
    }
    /// V after the row; NaN: not known.
    template <class T>
    static double end_value(const sqil_terms<T>& terms, std::size_t b) {
        if (terms.truncated.empty() || terms.truncated[b] == 0) return 0;
        return terms.bootstrap.empty() ? std::numeric_limits<double>::quiet_NaN() : terms.bootstrap[b];
    }
    template <class T>
    static double count_steps(const sqil_terms<T>& terms, std::size_t b) {
        const std::size_t n = terms.log_prob.length(b);
        const std::size_t tokens = terms.mask.empty() ? n : detail::count_included(terms.mask.data(b), n);
        const double after = end_value(terms, b);
        return static_cast<double>(tokens > 0 && is_nan(&after) ? tokens - 1 : tokens);
    }
    /// step(token, Q, V of what comes next) for each step that counts; last(token) for a truncated row's last token.
    template <class T, class Step, class Last>
    void for_each_step(const sqil_terms<T>& terms, std::size_t b, Step&& step, Last&& last) const {
        const auto log_prob = terms.log_prob.row(b), normalizer = terms.log_normalizer.row(b);
        const auto next = terms.target_log_normalizer.empty() ? normalizer : terms.target_log_normalizer.row(b);
        const std::size_t n = log_prob.size();
        const auto q = [&](std::size_t t) {
            return alpha * (static_cast<double>(log_prob[t]) + static_cast<double>(normalizer[t]));
        };
        const auto v = [&](std::size_t t) { return alpha * static_cast<double>(next[t]); };
        std::size_t open = n;  // the last token so far
        if (terms.mask.empty()) {
            for (std::size_t t = 0; t + 1 < n; ++t) step(t, q(t), v(t + 1));
            open = n > 0 ? n - 1 : n;
        } else {
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < n; ++t) {
                if (!included[t]) continue;
                if (open != n) step(open, q(open), v(t));
                open = t;
            }
        }
        if (open == n) return;
        const double after = end_value(terms, b);
        if (is_nan(&after))
            last(open);
        else
            step(open, q(open), after);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
