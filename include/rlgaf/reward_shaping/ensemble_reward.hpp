#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How several discriminators' scores of a row become one.
enum class ensemble_vote {
    mean,
    least,    ///< the most doubtful one decides
    cautious  ///< mean - caution deviation
};

/// Several discriminators (or heads) judge each row; rewards that only some of them give count less. Adds the outcome
/// "discriminator" [B].
/// Formula: r = mean(s), min(s) or mean(s) - caution deviation(s), of the row's `width` scores; then within +-clip.
/// Shapes:  score [B * width].
/// Units:   those of the scores. Survival bias: learned.
/// Degenerate: a single score: itself. A NaN among the scores: NaN, the reward does not apply.
/// Errors:  shape_error; option_error.
/// Source:  Coste et al. 2023, arXiv 2310.02743 (mean, worst case, uncertainty-weighted; there the variance is taken
///          off); several discriminators: Durugkar et al. 2016, arXiv 1611.01673.
struct ensemble_reward {
    using role = role::reward;
    ensemble_vote vote = ensemble_vote::cautious;
    double caution = 1;  ///< >= 0, deviations (n - 1 in the denominator) that are taken off
    double clip = 10;    ///< > 0

    void check() const {
        detail::check_option(caution >= 0, "ensemble_reward", "caution", "0 or positive", caution);
        detail::check_option(clip > 0, "ensemble_reward", "clip", "positive", clip);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_scores(terms, out, "ensemble_reward");
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < r.size(); ++i) {
            const auto scores = terms.score.subspan(i * terms.width, terms.width);
            const double mean = sum(scores) / static_cast<double>(terms.width);
            double least = mean, squares = 0;
            for (const T s : scores) {
                const double v = static_cast<double>(s);
                least = v < least ? v : least;
                squares += (v - mean) * (v - mean);
            }
            const double deviation = terms.width > 1 ? std::sqrt(squares / static_cast<double>(terms.width - 1)) : 0;
            const double vote_of_row = vote == ensemble_vote::mean    ? mean
                                       : vote == ensemble_vote::least ? least
                                                                      : mean - caution * deviation;
            r[i] = detail::held_within(vote_of_row, -clip, clip);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
