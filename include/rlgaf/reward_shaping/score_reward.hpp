#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/terms.hpp"

/// From the discriminator's raw score s (a logit; demonstrations are high) to the policy's reward. Each adds the
/// outcome "discriminator" [B]. Affine changes vanish in a baseline with scaling; the shape decides who is pushed
/// hardest. Survival bias matters only where rewards are paid step by step and rows may end early.
/// A score of NaN stays NaN: the reward does not apply to that row.
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
        detail::check_size(terms.score.size(), out.rows(), "logit_reward", "terms.score");
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < r.size(); ++i)
            r[i] = detail::held_within(static_cast<double>(terms.score[i]), -clip, clip);
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
        detail::check_size(terms.score.size(), out.rows(), "log_d_reward", "terms.score");
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < r.size(); ++i) r[i] = log_sigmoid(static_cast<double>(terms.score[i]));
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
        detail::check_size(terms.score.size(), out.rows(), "neg_log_one_minus_d_reward", "terms.score");
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < r.size(); ++i) r[i] = softplus(static_cast<double>(terms.score[i]));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
