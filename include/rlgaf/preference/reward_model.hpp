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

        preference_stats stats{.accuracy = 0};
        work.a.assign(rows, 0.0);
        double gap[detail::block_tokens], nll[detail::block_tokens], push[detail::block_tokens];
        for (std::size_t first = 0; first < terms.pairs.size(); first += detail::block_tokens) {
            const std::size_t rest = terms.pairs.size() - first;
            const std::size_t n = rest < detail::block_tokens ? rest : detail::block_tokens;
            const preference_pair* const pair = terms.pairs.data() + first;
            for (std::size_t p = 0; p < n; ++p)
                gap[p] = static_cast<double>(terms.score[pair[p].chosen]) -
                         static_cast<double>(terms.score[pair[p].rejected]) - margin -
                         (terms.margin.empty() ? 0 : terms.margin[first + p]);
            for (std::size_t p = 0; p < n; ++p) {
                nll[p] = softplus(-gap[p]) + label_smoothing * gap[p];  // softplus(gap) = softplus(-gap) + gap
                push[p] = sigmoid(-gap[p]) - label_smoothing;
            }
            for (std::size_t p = 0; p < n; ++p) {
                if (pair[p].weight == 0) continue;
                const double c = static_cast<double>(terms.score[pair[p].chosen]);
                const double r = static_cast<double>(terms.score[pair[p].rejected]);
                const double share = pair[p].weight / total, both = c + r, pull = 2 * centering * both;
                detail::add_pair(stats, share, nll[p] + centering * both * both, c, r);
                work.a[pair[p].chosen] += share * (pull - push[p]);
                work.a[pair[p].rejected] += share * (pull + push[p]);
            }
        }
        for (std::size_t i = 0; i < rows; ++i) d_score[i] += static_cast<T>(work.a[i]);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
