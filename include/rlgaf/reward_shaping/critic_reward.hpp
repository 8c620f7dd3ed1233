#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

/// Rewards that belong to discriminators whose score is no logit, and FAIRL's. Each adds the outcome "discriminator"
/// [B], the mean over `width` numbers a row. NaN stays NaN. Errors: shape_error where score is not [B * width];
/// option_error.
namespace rlgaf::inline RLGAF_ABI {

/// Formula: r = tanh(s), in [-1, 1]: what the total-variation critic trains against.
/// Survival bias: none at s = 0.
/// Source: Nie et al. 2019, ICLR (RelGAN), loss "tv"; total variation: Nowozin et al. 2016, arXiv 1606.00709.
struct tanh_reward {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_scores(terms, out, "tanh_reward");
        detail::add_score_reward(
            out, terms.width, [](T s) { return 2 * sigmoid(2 * s) - 1; }, terms.score);
    }
};

/// Formula: r = -(s - target)^2 / 2 <= 0, for the least-squares discriminator: scores above the target are punished
///          too.
/// Survival bias: shorter rows.
/// Source: Mao et al. 2016, arXiv 1611.04076 (LSGAN), the generator's c.
struct least_squares_reward {
    using role = role::reward;
    double target = 1;  ///< finite; 0 beside labels -1 and 1

    void check() const {
        detail::check_option(std::abs(target) < std::numeric_limits<double>::infinity(), "least_squares_reward",
                             "target", "a finite number", target);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_scores(terms, out, "least_squares_reward");
        detail::add_score_reward(
            out, terms.width, [to = static_cast<T>(target)](T s) { return (s - to) * (s - to) / -2; }, terms.score);
    }
};

/// Formula: r = -s exp(s) with s held within +-score_limit, then r within +-clip: forward KL(expert || policy).
///          Largest, 1 / e, at s = -1; falls steeply for s > 0.
/// Survival bias: longer rows for fakes that are seen through, shorter ones for those that pass.
/// Source: Ghasemipour et al. 2019, arXiv 1911.02256 (FAIRL); both limits: rl_swiss.
struct fairl_reward {
    using role = role::reward;
    double score_limit = 10;  ///< in (0, 700]
    double clip = 10;         ///< > 0

    void check() const {
        detail::check_option(score_limit > 0 && score_limit <= 700, "fairl_reward", "score_limit", "in (0, 700]",
                             score_limit);
        detail::check_option(clip > 0, "fairl_reward", "clip", "positive", clip);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_scores(terms, out, "fairl_reward");
        const auto reward = [limit = static_cast<T>(score_limit), most = static_cast<T>(clip)](T s) {
            s = detail::held_within(s, -limit, limit);
            return detail::held_within(-s * exponential(s), -most, most);
        };
        detail::add_score_reward(out, terms.width, reward, terms.score);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
