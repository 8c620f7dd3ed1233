#pragma once
#include "rlgaf/preference/dpo_variant.hpp"
#include "rlgaf/preference/reference_divergence.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Direct preference optimisation: a policy from pairs of answers, without a reward model.
/// Formula: x = sum of (log_prob - reference_log_prob) over the unmasked tokens of a row; c = beta score(x) of the
///          chosen row, r of the rejected, score(x) = x unless another divergence is chosen; with length_average each
///          is divided by its n.
///          L = weighted mean over pairs of factor (loss(c, r + margin) - sft_coefficient (mean over tokens of the
///          chosen row's log_prob)); margin is 0 and factor 1 where the terms have none.
/// Shapes:  all [B, length]; pairs may share rows.
/// Adds:    d_log_prob += the row's slope, the same on each unmasked token, summed over its pairs.
/// Units:   implicit rewards in nats times beta; the stats' are those of the sums, whatever length_average says.
/// At kinks: hinge at h = 1 has no gradient.
/// Degenerate: a row without unmasked tokens has reward 0 and no gradient; no pairs, or all of weight 0: loss 0.
/// Errors:  shape_error; option_error, for a margin where the variant is no function of h alone too; numeric_error for
///          a weight. No allocation once `work` has grown.
/// Needs:   finite log-probs, of both policies at the same temperature. Not row-separable: a pair joins two rows.
/// Source:  of each variant, above, checked against TRL's DPOTrainer. TRL's sigmoid_norm (Lambert et al. 2024,
///          2411.15124) is sigmoid with length_average; TRL averages ipo always, OpenRLHF and the paper sum. Anchor:
///          Pang et al. 2024, 2404.19733, equation 1. Margin: Amini et al. 2024, 2402.10571. Factor: see wpo.
struct dpo {
    static constexpr bool row_separable = false;
    dpo_variant variant = dpo_variant::sigmoid;
    double beta = 0.1;            ///< finite, > 0
    double label_smoothing = 0;   ///< sigmoid, robust: in [0, 0.5); exo_pair: in (0, 0.5); the others have none
    bool length_average = false;  ///< mean over tokens instead of the sum
    double sft_coefficient = 0;   ///< finite, >= 0; Pang et al.: 1
    reference_divergence divergence = reference_divergence::reverse_kl;
    double alpha = 0.5;  ///< of reference_divergence::alpha, finite
    double tau = 0.05;   ///< of discopop, in [1e-6, 1]

    void check() const {
        detail::check_option(beta > 0 && beta < std::numeric_limits<double>::infinity(), "dpo", "beta",
                             "finite and positive", beta);
        const double e = label_smoothing;
        if (variant == dpo_variant::exo_pair)
            detail::check_option(e > 0 && e < 0.5, "dpo", "label_smoothing", "in (0, 0.5) for exo_pair", e);
        else if (variant == dpo_variant::sigmoid || variant == dpo_variant::robust)
            detail::check_option(e >= 0 && e < 0.5, "dpo", "label_smoothing", "in [0, 0.5)", e);
        else
            detail::check_option(e == 0, "dpo", "label_smoothing", "0 for this variant", e);
        detail::check_option(sft_coefficient >= 0 && sft_coefficient < std::numeric_limits<double>::infinity(), "dpo",
                             "sft_coefficient", "finite, 0 or positive", sft_coefficient);
        detail::check_option(std::abs(alpha) < std::numeric_limits<double>::infinity(), "dpo", "alpha",
                             "a finite number", alpha);
        detail::check_option(tau >= 1e-6 && tau <= 1, "dpo", "tau", "in [1e-6, 1]", tau);
    }

    dpo_slopes pair_loss(double c, double r) const {
        return detail::dpo_pair_loss(variant, c, r, {beta, label_smoothing, tau});
    }

    template <class T>
    preference_stats operator()(const preference_terms<T>& terms, workspace& work,
                                const ragged_view<T>& d_log_prob) const {
        check();
        const std::size_t rows = terms.log_prob.rows();
        detail::check_same_shape(terms.log_prob, terms.reference_log_prob, "dpo", "terms.reference_log_prob");
        detail::check_same_shape_if_given(terms.log_prob, terms.mask, "dpo", "terms.mask");
        detail::check_same_shape(terms.log_prob, d_log_prob, "dpo", "d_log_prob");
        for (const auto* x : {&terms.margin, &terms.factor})
            if (!x->empty())
                detail::check_size(x->size(), terms.pairs.size(), "dpo",
                                   x == &terms.margin ? "terms.margin" : "terms.factor");
        detail::check_option(terms.margin.empty() || detail::knows_gap_only(variant), "dpo", "variant",
                             "one that is a function of the gap with terms.margin", static_cast<double>(variant));
        const double total = detail::check_pairs(terms.pairs, rows, "dpo");
        if (total == 0) return {};

        std::vector<double>&ratio = work.a, &likelihood = work.b, &tokens = work.c, &slope = work.d;
        for (std::vector<double>* x : {&ratio, &likelihood, &tokens, &slope}) x->assign(rows, 0.0);
        for (std::size_t b = 0; b < rows; ++b) {
            const auto row = detail::sum_tokens<2>(
                row_mask(terms.mask, b),
                [](T l, T r) {
                    return detail::token_numbers<2, T>{{l, r}};
                },
                terms.log_prob.slice(b, 1), terms.reference_log_prob.slice(b, 1));
            ratio[b] = row.sum[0] - row.sum[1], likelihood[b] = row.sum[0], tokens[b] = row.tokens;
        }
        const auto scale = [&](std::size_t b) { return length_average && tokens[b] > 0 ? beta / tokens[b] : beta; };
        preference_stats stats{.accuracy = 0};
        for (std::size_t p = 0; p < terms.pairs.size(); ++p) {
            const auto& [chosen, rejected, weight] = terms.pairs[p];
            if (weight == 0) continue;
            const double share = weight / total, factor = terms.factor.empty() ? 1 : terms.factor[p];
            const ratio_score c = score_ratio(divergence, alpha, ratio[chosen]);
            const ratio_score r = score_ratio(divergence, alpha, ratio[rejected]);
            dpo_slopes pair = pair_loss(scale(chosen) * c.value,
                                        scale(rejected) * r.value + (terms.margin.empty() ? 0 : terms.margin[p]));
            slope[chosen] += share * factor * scale(chosen) * pair.d_chosen * c.slope;
            slope[rejected] += share * factor * scale(rejected) * pair.d_rejected * r.slope;
            if (sft_coefficient > 0 && tokens[chosen] > 0) {
                pair.loss -= sft_coefficient * likelihood[chosen] / tokens[chosen];
                slope[chosen] -= share * factor * sft_coefficient / tokens[chosen];
            }
            detail::add_pair(stats, share, factor * pair.loss, beta * ratio[chosen], beta * ratio[rejected]);
        }
        for (std::size_t b = 0; b < rows; ++b) {
            const T share = static_cast<T>(slope[b]);
            const auto d = d_log_prob.row(b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < d.size(); ++t) d[t] = included[t] ? d[t] + share : d[t];
        }
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
