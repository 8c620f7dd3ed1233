#pragma once
#include "rlgaf/math/rank_score.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The reward that belongs to rank_gan: how well a row's features rank among those of demonstrations. Adds the outcome
/// "discriminator" [B].
/// Formula: r_i = log R_i, see rank_score.
/// Shapes:  score [B * width], expert_score likewise: features of the rows and of their demonstrations; width >= 2.
/// Units:   nats, in [-2 gamma - log B, 0]. Survival bias: shorter rows.
/// Degenerate: fewer than two rows: 0.
/// Errors:  shape_error; option_error. Time B^2 width.
/// Needs:   demonstrations that differ: samples of a prompt that share one count it once for each of them.
/// Source:  Lin et al. 2017, arXiv 1705.11001.
struct rank_reward {
    using role = role::reward;
    static constexpr bool needs_expert_score = true;
    double gamma = 1;  ///< in (0, 300]; that of rank_gan

    void check() const { detail::check_gamma(gamma, "rank_reward"); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        detail::check_expert_scores(terms, out, "rank_reward");
        rank_score(terms.score, terms.expert_score, terms.width, gamma, out.add_outcome("discriminator"), work);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
