#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Scores by the scale that the discriminator has today: its mean and deviation on rows that stay the same. A
/// discriminator that trains moves its scale; this neither lags behind, as running moments do, nor depends on the
/// policy's own rows. Adds the outcome "discriminator" [B].
/// Formula: r = (s - mean) / deviation, within +-clip; mean and deviation of fixed_score, of each of `width` numbers
///          apart.
/// Shapes:  score [B * width], fixed_score [fixed rows * width]; with several numbers a row the mean of their rewards.
/// Units:   deviations of the fixed rows' scores. Survival bias: learned.
/// Degenerate: fixed scores that are all equal, a single fixed row: only centred. NaN among them takes no part; a row's
///          NaN stays NaN.
/// Errors:  shape_error, also where there are no fixed scores; option_error.
/// Needs:   fixed_score, which the trainer gives where needs_fixed_score is set.
/// Source:  normalising with a fixed set after each discriminator update: the advice of imitation's issues 261 and 442.
struct standard_score_reward {
    using role = role::reward;
    static constexpr bool needs_fixed_score = true;
    double clip = 10;  ///< > 0

    void check() const { detail::check_option(clip > 0, "standard_score_reward", "clip", "positive", clip); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        detail::check_scores(terms, out, "standard_score_reward");
        const std::size_t width = terms.width, fixed = terms.fixed_score.size() / width;
        if (fixed == 0 || fixed * width != terms.fixed_score.size()) [[unlikely]]
            fail(error_kind::shape, "standard_score_reward", "terms.fixed_score",
                 short_text("one or more rows of ", width, " numbers"), short_text(terms.fixed_score.size()));
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t k = 0; k < width; ++k) {
            work.a.resize(fixed);
            for (std::size_t j = 0; j < fixed; ++j) work.a[j] = static_cast<double>(terms.fixed_score[j * width + k]);
            const moments m = moments_of(detail::span_of(work.a));
            const double scale = is_constant(m.deviation(), m.mean) ? 1 : 1 / m.deviation();
            for (std::size_t i = 0; i < r.size(); ++i) {
                const double z = (static_cast<double>(terms.score[i * width + k]) - m.mean) * scale;
                r[i] += detail::held_within(z, -clip, clip) / static_cast<double>(width);
            }
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
