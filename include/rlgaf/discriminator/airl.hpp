#pragma once
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/discriminator/terms.hpp"

/// Adversarial inverse reinforcement learning: the scorer gives f, the discriminator's logit is h = f - log pi. Fill h
/// by airl_logits and give it to bce{} as scores, of demonstrations and samples alike: both need the policy's log-prob.
/// As dh / df = 1, the loss's gradient by h is the scorer's by f.
/// At the optimum h = log(expert / policy) and f = log expert: f is the reward that explains the expert. Pay the policy
/// h, or f where an entropy bonus stands for -log pi.
/// Source: Fu, Luo, Levine 2017, arXiv 1710.11248.
namespace rlgaf::inline RLGAF_ABI {

/// h_i = f_i - log pi_i, for rows of one choice each. logit may be the memory of score.
/// Needs: log-probs of one choice. Those of a whole text are tens to thousands of nats, and h would tell long from
///        short: for texts use the scores and log-probs of tokens, and on_tokens{bce{}}.
/// Errors: shape_error.
template <class T>
void airl_logits(std::span<const T> score, std::span<const T> log_prob, std::span<T> logit) {
    detail::check_size(log_prob.size(), score.size(), "airl_logits", "log_prob");
    detail::check_size(logit.size(), score.size(), "airl_logits", "logit");
    for (std::size_t i = 0; i < score.size(); ++i) logit[i] = score[i] - log_prob[i];
}

/// h_it = f_it - log pi(y_it | what is before it). Masked slots are neither read nor written.
/// Shapes: all [B, length]. logit may be the memory of score. Errors: shape_error.
template <class T>
void airl_logits(const ragged_view<const T>& score, const ragged_view<const T>& log_prob, const mask_view& mask,
                 const ragged_view<T>& logit) {
    detail::check_same_shape(score, log_prob, "airl_logits", "log_prob");
    detail::check_same_shape(score, logit, "airl_logits", "logit");
    detail::check_same_shape_if_given(score, mask, "airl_logits", "mask");
    for (std::size_t b = 0; b < score.rows(); ++b) {
        const auto f = score.row(b), l = log_prob.row(b);
        const auto h = logit.row(b);
        const included_tokens included(mask, b);
        for (std::size_t t = 0; t < f.size(); ++t)
            if (included[t]) h[t] = f[t] - l[t];
    }
}

/// A score of transitions that leaves the choice of a potential free: g is the reward, Phi what shapes it away.
/// Formula: f_i = g_i + gamma (1 - done_i) Phi(next_i) - Phi(state_i).
/// Shapes:  all [n], one element a transition; next_potential of a finished one is not read.
/// Adds:    backward: d_reward += d_f;  d_potential -= d_f;  d_next_potential += gamma (1 - done) d_f. Where
///          next_potential is potential moved on by one, give parts of one array: gradients accumulate.
/// Errors:  shape_error; option_error.
/// Needs:   g of the state alone, if the reward is to hold under other dynamics.
/// Source:  Fu, Luo, Levine 2017, arXiv 1710.11248, equation 4.
struct airl_score {
    double gamma = 0.99;  ///< in [0, 1], the discount of the returns

    void check() const { detail::check_option(gamma >= 0 && gamma <= 1, "airl_score", "gamma", "in [0, 1]", gamma); }

    template <class T>
    void operator()(std::span<const T> reward, std::span<const T> potential, std::span<const T> next_potential,
                    std::span<const std::uint8_t> done, std::span<T> f) const {
        check_sizes(reward.size(), potential.size(), next_potential.size(), done.size(), f.size());
        for (std::size_t i = 0; i < f.size(); ++i) {
            const double next = done[i] ? 0 : gamma * static_cast<double>(next_potential[i]);
            f[i] = static_cast<T>(static_cast<double>(reward[i]) + next - static_cast<double>(potential[i]));
        }
    }

    template <class T>
    void backward(std::span<const T> d_f, std::span<const std::uint8_t> done, std::span<T> d_reward,
                  std::span<T> d_potential, std::span<T> d_next_potential) const {
        check_sizes(d_reward.size(), d_potential.size(), d_next_potential.size(), done.size(), d_f.size());
        for (std::size_t i = 0; i < d_f.size(); ++i) {
            d_reward[i] += d_f[i];
            d_potential[i] -= d_f[i];
            if (!done[i]) d_next_potential[i] += static_cast<T>(gamma * static_cast<double>(d_f[i]));
        }
    }

private:
    void check_sizes(std::size_t reward, std::size_t potential, std::size_t next, std::size_t done,
                     std::size_t f) const {
        check();
        detail::check_size(reward, f, "airl_score", "reward");
        detail::check_size(potential, f, "airl_score", "potential");
        detail::check_size(next, f, "airl_score", "next_potential");
        detail::check_size(done, f, "airl_score", "done");
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
