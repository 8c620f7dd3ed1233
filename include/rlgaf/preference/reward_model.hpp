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
/// Errors:  shape_error; option_error; numeric_error for a weight. No allocation once `work` has grown.
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
    preference_stats operator()(const reward_model_terms<T>& terms, workspace& work, std::span<T> d_score) const {
        check();
        const std::size_t rows = terms.score.size();
        detail::check_size(d_score.size(), rows, "reward_model", "d_score");
        if (!terms.margin.empty())
            detail::check_size(terms.margin.size(), terms.pairs.size(), "reward_model", "terms.margin");
        const double total = detail::check_pairs(terms.pairs, rows, "reward_model");
        if (total == 0) return {};

        preference_stats stats;
        work.a.assign(rows, 0.0);
        const double shift = margin, flipped = label_smoothing, pull = centering;
        double share[detail::block_tokens], c[detail::block_tokens], r[detail::block_tokens], x[detail::block_tokens];
        detail::lane_sum loss, chosen, rejected, ahead;
        detail::for_each_block(terms.pairs.size(), [&](const std::size_t first, const std::size_t n) {
            const preference_pair* const pair = terms.pairs.data() + first;
            for (std::size_t p = 0; p < n; ++p) {  // what takes no part becomes two harmless numbers
                const bool counts = pair[p].weight != 0;
                share[p] = pair[p].weight / total;
                c[p] = counts ? static_cast<double>(terms.score[pair[p].chosen]) : 0;
                r[p] = counts ? static_cast<double>(terms.score[pair[p].rejected]) : 0;
                x[p] = shift + (counts && !terms.margin.empty() ? terms.margin[first + p] : 0);
            }
            double won[detail::block_tokens];
            for (std::size_t p = 0; p < n; ++p) {
                const double both = c[p] + r[p], gap = c[p] - r[p] - x[p], w = share[p];
                const softplus_pair lost = softplus_and_slope(-gap);  // softplus(gap) = softplus(-gap) + gap
                won[p] = w * (detail::choose(c[p] > r[p], 1.0, 0.0) - detail::choose(c[p] < r[p], 1.0, 0.0));
                x[p] = w * (lost.value + flipped * gap + pull * both * both);
                share[p] = w * (lost.slope - flipped);
                c[p] *= w, r[p] *= w;
            }
            loss.add(x, n), chosen.add(c, n), rejected.add(r, n), ahead.add(won, n);
            for (std::size_t p = 0; p < n; ++p) {
                const double centre = 2 * pull * (c[p] + r[p]);
                work.a[pair[p].chosen] += centre - share[p];
                work.a[pair[p].rejected] += centre + share[p];
            }
        });
        stats.loss = loss.total(), stats.chosen = chosen.total(), stats.rejected = rejected.total();
        stats.accuracy = 0.5 * (1 + ahead.total()), stats.margin = stats.chosen - stats.rejected;
        for (std::size_t i = 0; i < rows; ++i) d_score[i] += static_cast<T>(work.a[i]);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
