#pragma once
#include "rlgaf/math/f_divergence.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The policy's reward in the f-GAN game of a divergence. Adds the outcome "discriminator" [B].
/// Formula: r = g(s), or f*(g(s)) where saturating; then within +-clip. Both rise with s.
/// Shapes:  score [B * width]; with several numbers a row the mean of their rewards.
/// Units:   those of the divergence. Survival bias: by the sign of the reward: longer rows for f*(g(s)) of kl and gan,
///          shorter ones for g(s) of reverse_kl and gan.
/// Degenerate: NaN stays NaN.
/// Errors:  shape_error; option_error.
/// Needs:   the divergence of the discriminator's loss.
/// Source:  Nowozin, Cseke and Tomioka 2016, arXiv 1606.00709; as a reward: Ghasemipour et al. 2019, arXiv 1911.02256.
struct f_gan_reward {
    using role = role::reward;
    f_divergence divergence{};
    bool saturating = false;  ///< the original game; else the reward that still pushes where fakes are seen through
    double clip = 10;         ///< > 0

    void check() const {
        divergence.check("f_gan_reward");
        detail::check_option(clip > 0, "f_gan_reward", "clip", "positive", clip);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_scores(terms, out, "f_gan_reward");
        const auto add = [&](auto reward) {
            detail::add_score_reward(
                out, terms.width,
                [reward, most = static_cast<T>(clip)](T s) {
                    return detail::held_within(reward(s).value, -most, most);
                },
                terms.score);
        };
        with_f_divergence<T>(divergence.kind, divergence.alpha, [&](auto activation, auto conjugate) {
            if (saturating)
                add(conjugate);
            else
                add(activation);
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
