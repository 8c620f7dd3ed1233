#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The loss of one pair: c and r are the implicit rewards of chosen and rejected, h = c - r, e = label_smoothing.
enum class dpo_variant {
    sigmoid,    ///< (1 - e) softplus(-h) + e softplus(h). DPO: Rafailov et al. 2023, 2305.18290, equation 7; e > 0:
                ///< cDPO, Mitchell 2023
    robust,     ///< [(1 - e) softplus(-h) - e softplus(h)] / (1 - 2 e). Chowdhury et al. 2024, 2403.00409
    ipo,        ///< ((h - 1/2) / beta)^2. Azar et al. 2023, 2310.12036, equation 17
    hinge,      ///< max(0, 1 - h). SLiC: Zhao et al. 2023, 2305.10425; with a reference: Liu et al. 2023, 2309.06657
    exo_pair,   ///< KL of (q, 1 - q) to (1 - e, e), q = sigmoid(h). EXO: Ji et al. 2024, 2402.00856, equation 16
    nca_pair,   ///< softplus(-c) + softplus(c) / 2 + softplus(r) / 2. NCA: Chen et al. 2024, 2402.05369
    bco_pair,   ///< softplus(-c) + softplus(r). BCO without its reward shift: Jung et al. 2024, 2404.04656
    sppo_hard,  ///< ((c - 1/2) / beta)^2 + ((r + 1/2) / beta)^2. SPPO: Wu et al. 2024, 2405.00675, equation 4.7
    apo_zero,   ///< sigmoid(-c) + sigmoid(r). APO: D'Oosterlinck et al. 2024, 2408.06266, equation 7
    apo_down    ///< sigmoid(c) + sigmoid(-h). The same, equation 8: for a policy better than the chosen answers
};

/// Direct preference optimisation: a policy from pairs of answers, without a reward model.
/// Formula: c = beta sum of (log_prob - reference_log_prob) over the unmasked tokens of the chosen row, r of the
///          rejected; with length_average each sum is divided by its n. L = weighted mean over pairs of
///          loss(c, r) - sft_coefficient (mean over tokens of the chosen row's log_prob).
/// Shapes:  all [B, length]; pairs may share rows.
/// Adds:    d_log_prob += the row's slope, the same on each unmasked token, summed over its pairs.
/// Units:   implicit rewards in nats times beta; the stats' are those of the sums, whatever length_average says.
/// At kinks: hinge at h = 1 has no gradient.
/// Degenerate: a row without unmasked tokens has reward 0 and no gradient; no pairs, or all of weight 0: loss 0.
/// Errors:  shape_error; option_error; numeric_error for a weight. No allocation once `work` has grown.
/// Needs:   finite log-probs, of both policies at the same temperature. Not row-separable: a pair joins two rows.
/// Source:  of each variant, above, checked against TRL's DPOTrainer. TRL's sigmoid_norm (Lambert et al. 2024,
///          2411.15124) is sigmoid with length_average; TRL averages ipo always, OpenRLHF and the paper sum. Anchor:
///          Pang et al. 2024, 2404.19733, equation 1.
struct dpo {
    static constexpr bool row_separable = false;
    dpo_variant variant = dpo_variant::sigmoid;
    double beta = 0.1;            ///< finite, > 0
    double label_smoothing = 0;   ///< sigmoid, robust: in [0, 0.5); exo_pair: in (0, 0.5); the others have none
    bool length_average = false;  ///< mean over tokens instead of the sum
    double sft_coefficient = 0;   ///< >= 0; Pang et al.: 1

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
        detail::check_option(sft_coefficient >= 0, "dpo", "sft_coefficient", "0 or positive", sft_coefficient);
    }

    /// Loss of one pair and its slopes by the implicit rewards.
    struct slopes {
        double loss, d_chosen, d_rejected;
    };
    slopes pair_loss(double c, double r) const {
        const double h = c - r, e = label_smoothing;
        const auto by_gap = [](double loss, double d) { return slopes{loss, d, -d}; };
        const auto slope_of_sigmoid = [](double x) { return sigmoid(x) * sigmoid(-x); };
        switch (variant) {
            case dpo_variant::sigmoid:
                return by_gap((1 - e) * softplus(-h) + e * softplus(h), e - sigmoid(-h));
            case dpo_variant::robust:
                return by_gap(((1 - e) * softplus(-h) - e * softplus(h)) / (1 - 2 * e),
                              -((1 - e) * sigmoid(-h) + e * sigmoid(h)) / (1 - 2 * e));
            case dpo_variant::ipo:
                return by_gap((h - 0.5) * (h - 0.5) / (beta * beta), 2 * (h - 0.5) / (beta * beta));
            case dpo_variant::hinge:
                return by_gap(h < 1 ? 1 - h : 0, h < 1 ? -1 : 0);
            case dpo_variant::exo_pair:
                return by_gap(
                    sigmoid(h) * (log_sigmoid(h) - std::log1p(-e)) + sigmoid(-h) * (log_sigmoid(-h) - std::log(e)),
                    slope_of_sigmoid(h) * (h - std::log1p(-e) + std::log(e)));
            case dpo_variant::nca_pair:
                return {softplus(-c) + (softplus(c) + softplus(r)) / 2, sigmoid(c) / 2 - sigmoid(-c), sigmoid(r) / 2};
            case dpo_variant::bco_pair:
                return {softplus(-c) + softplus(r), -sigmoid(-c), sigmoid(r)};
            case dpo_variant::sppo_hard:
                return {((c - 0.5) * (c - 0.5) + (r + 0.5) * (r + 0.5)) / (beta * beta), 2 * (c - 0.5) / (beta * beta),
                        2 * (r + 0.5) / (beta * beta)};
            case dpo_variant::apo_zero:
                return {sigmoid(-c) + sigmoid(r), -slope_of_sigmoid(c), slope_of_sigmoid(r)};
            case dpo_variant::apo_down:
                break;
        }
        return {sigmoid(c) + sigmoid(-h), slope_of_sigmoid(c) - slope_of_sigmoid(h), slope_of_sigmoid(h)};
    }

    template <class T>
    preference_stats operator()(const preference_terms<T>& terms, workspace& work,
                                const ragged_view<T>& d_log_prob) const {
        check();
        const std::size_t rows = terms.log_prob.rows();
        detail::check_same_shape(terms.log_prob, terms.reference_log_prob, "dpo", "terms.reference_log_prob");
        detail::check_same_shape_if_given(terms.log_prob, terms.mask, "dpo", "terms.mask");
        detail::check_same_shape(terms.log_prob, d_log_prob, "dpo", "d_log_prob");
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
        for (const auto& [chosen, rejected, weight] : terms.pairs) {
            if (weight == 0) continue;
            const double share = weight / total;
            slopes pair = pair_loss(scale(chosen) * ratio[chosen], scale(rejected) * ratio[rejected]);
            slope[chosen] += share * scale(chosen) * pair.d_chosen;
            slope[rejected] += share * scale(rejected) * pair.d_rejected;
            if (sft_coefficient > 0 && tokens[chosen] > 0) {
                pair.loss -= sft_coefficient * likelihood[chosen] / tokens[chosen];
                slope[chosen] -= share * sft_coefficient / tokens[chosen];
            }
            detail::add_pair(stats, share, pair.loss, beta * ratio[chosen], beta * ratio[rejected]);
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
