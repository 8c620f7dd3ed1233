#pragma once
#include <vector>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/math/sort.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Alignment by optimal transport: the distribution of the chosen answers' rewards is to lie above that of the rejected
/// ones, quantile by quantile, whichever pair a reward comes from.
/// Formula: x = sum of log_prob, y = sum of reference_log_prob over a row's unmasked tokens, of each pair of n;
///          paired: u = x_chosen - x_rejected, v = y_chosen - y_rejected;
///          unpaired: u = x_chosen - y_chosen, v = x_rejected - y_rejected;
///          h_k = beta (u_(k) - v_(k)), (k) the k-th smallest of each; e = label_smoothing;
///          L = mean over k of (1 - e) softplus(-h_k) + e softplus(h_k).
/// Shapes:  all [B, length]; pairs may share rows.
/// Adds:    d_log_prob += the row's slope, the same on each unmasked token, summed over its pairs.
/// Units:   nats times beta. Stats: rewards of the pairs as dpo has them, before sorting.
/// At kinks: equal numbers are taken in the order of their pairs.
/// Degenerate: one pair: dpo's sigmoid. No pairs with a weight: loss 0. A row without unmasked tokens: 0, no gradient.
/// Errors:  shape_error; option_error, also for margins and factors: it has no place for them; numeric_error for a
///          weight, or for weights that differ: quantiles match one to one. No allocation once `work` has grown.
/// Needs:   many pairs at once: quantiles of few say little. Finite log-probs.
/// Source:  Melnyk et al. 2024, arXiv 2406.05882, section 3; TRL: loss_type aot, aot_unpaired.
struct aot {
    static constexpr bool row_separable = false;
    bool paired = true;
    double beta = 0.1;           ///< finite, > 0
    double label_smoothing = 0;  ///< in [0, 0.5)

    void check() const {
        detail::check_option(beta > 0 && beta < std::numeric_limits<double>::infinity(), "aot", "beta",
                             "finite and positive", beta);
        detail::check_option(label_smoothing >= 0 && label_smoothing < 0.5, "aot", "label_smoothing", "in [0, 0.5)",
                             label_smoothing);
    }

    template <class T>
    preference_stats operator()(const preference_terms<T>& terms, workspace& work,
                                const ragged_view<T>& d_log_prob) const {
        check();
        const std::size_t rows = terms.log_prob.rows();
        detail::check_same_shape(terms.log_prob, terms.reference_log_prob, "aot", "terms.reference_log_prob");
        detail::check_same_shape_if_given(terms.log_prob, terms.mask, "aot", "terms.mask");
        detail::check_same_shape(terms.log_prob, d_log_prob, "aot", "d_log_prob");
        if (!terms.margin.empty() || !terms.factor.empty()) [[unlikely]]
            fail(error_kind::option, "aot", terms.margin.empty() ? "terms.factor" : "terms.margin",
                 "none: quantiles join other pairs", "some");
        if (detail::check_pairs(terms.pairs, rows, "aot") == 0) return {};

        std::vector<double>&x = work.a, &y = work.b, &u = work.c, &v = work.d, &slope = work.e;
        x.resize(rows), y.resize(rows);
        for (std::size_t b = 0; b < rows; ++b) {
            x[b] = masked_row_sum(terms.log_prob, terms.mask, b);
            y[b] = masked_row_sum(terms.reference_log_prob, terms.mask, b);
        }
        u.clear(), v.clear(), work.index.clear();
        for (std::size_t p = 0; p < terms.pairs.size(); ++p) {  // u and v of pair p, if it has a weight
            const auto& [c, r, weight] = terms.pairs[p];
            u.push_back(paired ? x[c] - x[r] : x[c] - y[c]);
            v.push_back(paired ? y[c] - y[r] : x[r] - y[r]);
            if (weight == 0) continue;
            if (!work.index.empty() && weight != terms.pairs[work.index[0]].weight) [[unlikely]]
                fail(error_kind::numeric, "aot", short_text("pairs[", p, "].weight"),
                     short_text("the weight of the others, ", terms.pairs[work.index[0]].weight), short_text(weight));
            work.index.push_back(p);
        }
        const std::size_t n = work.index.size();
        for (std::size_t k = 0; k < n; ++k) work.index.push_back(work.index[k]);
        const std::span<std::size_t> by_u = detail::span_of(work.index, 0, n), by_v = detail::span_of(work.index, n, n);
        const auto sort = [](std::span<std::size_t> order, const std::vector<double>& by) {
            detail::heap_sort(order,
                              [&by](std::size_t i, std::size_t j) { return by[i] != by[j] ? by[i] < by[j] : i < j; });
        };
        sort(by_u, u), sort(by_v, v);
        slope.assign(rows, 0.0);
        preference_stats stats{.accuracy = 0};
        const double share = 1 / static_cast<double>(n);
        for (std::size_t k = 0; k < n; ++k) {
            const preference_pair &above = terms.pairs[by_u[k]], &below = terms.pairs[by_v[k]];
            const double h = beta * (u[by_u[k]] - v[by_v[k]]);
            const double push = share * beta * (sigmoid(-h) - label_smoothing);
            slope[above.chosen] -= push;
            slope[paired ? above.rejected : below.rejected] += push;
            const double loss = (1 - label_smoothing) * softplus(-h) + label_smoothing * softplus(h);
            detail::add_pair(stats, share, loss, beta * (x[above.chosen] - y[above.chosen]),
                             beta * (x[above.rejected] - y[above.rejected]));
        }
        for (std::size_t b = 0; b < rows; ++b) {
            const T step = static_cast<T>(slope[b]);
            const auto d = d_log_prob.row(b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < d.size(); ++t) d[t] = included[t] ? d[t] + step : d[t];
        }
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
