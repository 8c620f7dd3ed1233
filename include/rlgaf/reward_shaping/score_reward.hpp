#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

/// From the discriminator's raw score s (a logit; demonstrations are high) to the policy's reward. Each adds the
/// outcome "discriminator" [B]. Affine changes vanish in a baseline with scaling; the shape decides who is pushed
/// hardest. Survival bias matters only where rewards are paid step by step and rows may end early.
/// With `width` numbers a row the reward is the mean of theirs. A score of NaN stays NaN: the reward does not apply to
/// that row. All of them raise a shape_error where score is not [B * width].
namespace rlgaf::inline RLGAF_ABI {

/// r = s, within +-clip. Survival bias: learned.
/// At the optimum of a logistic loss the policy minimises KL(policy || expert).
/// Source: Fu et al. 2017, arXiv 1710.11248 (AIRL); Ye et al. 2025, arXiv 2511.10643 (GAD).
struct logit_reward {
    using role = role::reward;
    double clip = 10;  ///< > 0; applies to the reward only, never to the discriminator's loss

    void check() const { detail::check_option(clip > 0, "logit_reward", "clip", "positive", clip); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_scores(terms, out, "logit_reward");
        detail::add_score_reward(
            out, terms.width, [most = static_cast<T>(clip)](T s) { return detail::held_within(s, -most, most); },
            terms.score);
    }
};

/// r = D = sigmoid(s), in [0, 1]. Survival bias: longer rows.
/// Source: Yu et al. 2017, arXiv 1609.05473 (SeqGAN).
struct d_reward {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_scores(terms, out, "d_reward");
        detail::add_score_reward(
            out, terms.width, [](T s) { return sigmoid(s); }, terms.score);
    }
};

/// r = 2 D - 1, in [-1, 1]. Survival bias: none at s = 0.
/// Source: de Masson d'Autume et al. 2019, arXiv 1905.09922 (ScratchGAN), which found it more stable than log D.
struct two_d_minus_one_reward {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_scores(terms, out, "two_d_minus_one_reward");
        detail::add_score_reward(
            out, terms.width, [](T s) { return 2 * sigmoid(s) - 1; }, terms.score);
    }
};

/// r = log D = -softplus(-s) <= 0. Survival bias: shorter rows.
/// Does not saturate where the discriminator is sure of a fake.
/// Source: Goodfellow et al. 2014, arXiv 1406.2661 (non-saturating form).
struct log_d_reward {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_scores(terms, out, "log_d_reward");
        detail::add_score_reward(
            out, terms.width, [](T s) { return log_sigmoid(s); }, terms.score);
    }
};

/// r = -log(1 - D) = softplus(s) >= 0. Survival bias: longer rows.
/// Nearly flat where the discriminator is sure of a fake.
/// Source: Ho and Ermon 2016, arXiv 1606.03476 (GAIL), in imitation's sign.
struct neg_log_one_minus_d_reward {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_scores(terms, out, "neg_log_one_minus_d_reward");
        detail::add_score_reward(
            out, terms.width, [](T s) { return softplus(s); }, terms.score);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
