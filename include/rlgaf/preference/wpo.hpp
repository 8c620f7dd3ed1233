#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/core/component.hpp"
#include "rlgaf/preference/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// WPO: pairs of other policies' answers count by how likely the policy itself would give them, as if it had. Fills
/// preference_terms::factor, a constant, for dpo.
/// Formula: v = exp(mean over the row's unmasked tokens of log_prob - log_collision);
///          factor = min(cap, v_chosen v_rejected).
///          log_collision is log(sum over the vocabulary of p^2), what a sampled token's log_prob is on average held
///          against; 0 where it is not given (the paper's plain form).
/// Shapes:  log_prob, log_collision [B, length]; factor [pairs], overwritten.
/// Degenerate: a row without unmasked tokens: v = 1.
/// Errors:  shape_error; option_error. No allocation once `work` has grown.
/// Needs:   the policy's log-probs of the moment: call it before every step.
/// Source:  Zhou et al. 2024, arXiv 2406.11827, equation 2 and section 3.3; TRL: use_weighting (now without a cap).
struct wpo {
    double cap = 1;  ///< > 0; infinity: none

    void check() const { detail::check_option(cap > 0, "wpo", "cap", "positive", cap); }

    template <class T>
    void operator()(const preference_terms<T>& terms, const ragged_view<const T>& log_collision, workspace& work,
                    std::vector<double>& factor) const {
        check();
        detail::check_same_shape_if_given(terms.log_prob, terms.mask, "wpo", "terms.mask");
        detail::check_same_shape_if_given(terms.log_prob, log_collision, "wpo", "log_collision");
        detail::check_pairs(terms.pairs, terms.log_prob.rows(), "wpo");
        work.a.resize(terms.log_prob.rows());
        for (std::size_t b = 0; b < work.a.size(); ++b) {
            double sum = masked_row_sum(terms.log_prob, terms.mask, b), tokens = 0;
            if (!log_collision.empty()) sum -= masked_row_sum(log_collision, terms.mask, b);
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < terms.log_prob.length(b); ++t) tokens += included[t];
            work.a[b] = tokens > 0 ? sum / tokens : 0;
        }
        factor.resize(terms.pairs.size());
        for (std::size_t p = 0; p < factor.size(); ++p) {
            const double v = std::exp(work.a[terms.pairs[p].chosen] + work.a[terms.pairs[p].rejected]);
            factor[p] = v > cap ? cap : v;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
