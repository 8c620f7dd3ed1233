#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What reward_model reads.
template <class T>
struct reward_model_terms {
    std::span<const T> score;  ///< [B] one number a row
    std::span<const preference_pair> pairs;
    std::span<const double> margin{};  ///< optional [pairs]: how much better the chosen one is, added to the option
};

/// Reward model of pairwise preferences (Bradley-Terry). For all pairs of a prompt with equal prompts: all_pairs.
/// Formula: gap = s_c - s_r - margin;  L = weighted mean over pairs of (1 - e) softplus(-gap) + e softplus(gap)
///          + centering (s_c + s_r)^2,   e = label_smoothing.
/// Shapes:  score, d_score [B].
/// Adds:    d_score: of the chosen -(sigmoid(-gap) - e) + 2 centering (s_c + s_r), of the rejected
///          +(sigmoid(-gap) - e) + 2 centering (s_c + s_r), by the pair's share of the weight.
/// Units:   nats. Scores are fixed only up to a constant a prompt unless centering is on.
/// Degenerate: no pairs, or all of weight 0: loss 0, no gradient. Any gap is fine (OpenRLHF's LogExpLoss overflows).
/// Errors:  shape_error; option_error; numeric_error for a weight. No allocation.
/// Source:  Ouyang et al. 2022, arXiv 2203.02155, equation 1; margin: Touvron et al. 2023, arXiv 2307.09288; centering:
///          Eisenstein et al. 2023, arXiv 2312.09244; label_smoothing: Wang et al. 2024, arXiv 2401.06080.
struct reward_model {
    double margin = 0;           ///< finite, of every pair
    double centering = 0;        ///< finite, >= 0; 0.01 is usual
    double label_smoothing = 0;  ///< in [0, 0.5): share of the labels that are taken to be the wrong way round

    void check() const {
        detail::check_option(std::abs(margin) < std::numeric_limits<double>::infinity(), "reward_model", "margin",
                             "a finite number", margin);
        detail::check_option(centering >= 0 && centering < std::numeric_limits<double>::infinity(), "reward_model",
                             "centering", "finite, 0 or positive", centering);
        detail::check_option(label_smoothing >= 0 && label_smoothing < 0.5, "reward_model", "label_smoothing",
                             "in [0, 0.5)", label_smoothing);
    }

    template <class T>
    preference_stats operator()(const reward_model_terms<T>& terms, std::span<T> d_score) const {
        check();
        detail::check_size(d_score.size(), terms.score.size(), "reward_model", "d_score");
        if (!terms.margin.empty())
            detail::check_size(terms.margin.size(), terms.pairs.size(), "reward_model", "terms.margin");
        const double total = detail::check_pairs(terms.pairs, terms.score.size(), "reward_model");
        return total == 0 ? preference_stats{} : sum(terms, 1 / total, d_score);
    }

private:
    template <class T>
    RLGAF_FLATTEN preference_stats sum(const reward_model_terms<T>& terms, double scale, std::span<T> d_score) const {
        const T flipped = static_cast<T>(label_smoothing), pull = static_cast<T>(centering);
        struct {  // in one piece: clang compares each input with it once
            T chosen[detail::block_tokens], rejected[detail::block_tokens], margin[detail::block_tokens];
            T share[detail::block_tokens], loss[detail::block_tokens], won[detail::block_tokens];
            T up[detail::block_tokens], down[detail::block_tokens];
        } x;
        detail::lane_sum loss, chosen, rejected, ahead;
        detail::for_each_block(terms.pairs.size(), [&](const std::size_t first, const std::size_t n) {
            const preference_pair* const pair = terms.pairs.data() + first;
            for (std::size_t p = 0; p < n; ++p) {  // what takes no part becomes two harmless numbers
                const bool counts = pair[p].weight != 0;
                x.share[p] = static_cast<T>(pair[p].weight * scale);
                x.chosen[p] = detail::choose(counts, terms.score[pair[p].chosen], T{0});
                x.rejected[p] = detail::choose(counts, terms.score[pair[p].rejected], T{0});
                x.margin[p] = static_cast<T>(margin);
            }
            if (!terms.margin.empty())
                for (std::size_t p = 0; p < n; ++p)
                    x.margin[p] += pair[p].weight != 0 ? static_cast<T>(terms.margin[first + p]) : T{0};
            for (std::size_t p = 0; p < n; ++p) {
                const T c = x.chosen[p], r = x.rejected[p], w = x.share[p], gap = c - r - x.margin[p];
                const auto lost = softplus_and_slope(-gap);  // softplus(gap) = softplus(-gap) + gap
                const T push = w * (lost.slope - flipped), centre = 2 * w * pull * (c + r);
                x.loss[p] = w * (lost.value + flipped * gap + pull * (c + r) * (c + r));
                x.won[p] = w * (detail::choose(c > r, T{1}, T{0}) - detail::choose(c < r, T{1}, T{0}));
                x.up[p] = centre - push, x.down[p] = centre + push;
                x.chosen[p] = w * c, x.rejected[p] = w * r;
            }
            loss.add(x.loss, n), ahead.add(x.won, n), chosen.add(x.chosen, n), rejected.add(x.rejected, n);
            for (std::size_t p = 0; p < n; ++p) {
                d_score[pair[p].chosen] += x.up[p];
                d_score[pair[p].rejected] += x.down[p];
            }
        });
        preference_stats stats;
        stats.loss = loss.total(), stats.chosen = chosen.total(), stats.rejected = rejected.total();
        stats.accuracy = 0.5 * (1 + ahead.total()), stats.margin = stats.chosen - stats.rejected;
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
