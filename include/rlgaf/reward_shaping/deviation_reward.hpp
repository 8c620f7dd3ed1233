#pragma once
#include "rlgaf/math/batch_deviation.hpp"
#include "rlgaf/reward_shaping/score_map.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The reward that belongs to batch_deviation: a score that knows how varied the samples are. Adds the outcome
/// "discriminator" [B].
/// Formula: r_i = map(x_i0 + x_i1 m) within +-clip; m and x as in batch_deviation, over the rows of the step.
/// Shapes:  score [B * width], width >= 2.
/// Units:   the map's, and so is the survival bias.
/// Degenerate: a NaN among the features makes every reward NaN, one in a row's score or gate that row's.
/// Errors:  shape_error; option_error.
/// Needs:   about as many rows as a side has in the discriminator's steps.
/// Source:  Karras et al. 2017, arXiv 1710.10196, section 3.
struct deviation_reward {
    using role = role::reward;
    score_map map = score_map::logit;
    double clip = 10;  ///< > 0

    void check() const { detail::check_option(clip > 0, "deviation_reward", "clip", "positive", clip); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_scores(terms, out, "deviation_reward");
        const double m = mean_deviation(terms.score, terms.width);
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < r.size(); ++i) {
            const std::size_t row = i * terms.width;
            const double s = static_cast<double>(terms.score[row]) + static_cast<double>(terms.score[row + 1]) * m;
            r[i] = detail::held_within(map_score(map, s), -clip, clip);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
