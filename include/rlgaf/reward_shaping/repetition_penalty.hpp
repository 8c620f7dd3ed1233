#pragma once
#include "rlgaf/reward_shaping/ngrams.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows pay for runs of n tokens that they have had before.
/// Formula: r = -penalty (1 - different n-grams / n-grams) of the row. Adds the outcome "repetition_penalty" [B].
/// Shapes:  n-grams are runs of unmasked tokens; masked slots are never read.
/// Units:   reward. Survival bias: shorter rows, where long ones repeat themselves.
/// Degenerate: rows shorter than n: 0.
/// Errors:  shape_error; option_error. A batch that does not show its tokens is refused at compile time.
/// Source:  TRL's get_repetition_penalty_reward, over words there; Yeo et al. 2025, arXiv 2502.03373.
struct repetition_penalty {
    using role = role::reward;
    std::size_t n = 3;   ///< > 0
    double penalty = 1;  ///< >= 0

    void check() const {
        detail::check_option(n > 0, "repetition_penalty", "n", "positive", static_cast<double>(n));
        detail::check_option(penalty >= 0, "repetition_penalty", "penalty", "0 or positive", penalty);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out, workspace& work) const {
        check();
        const auto token = detail::tokens_of(batch, terms, out, "repetition_penalty");
        const std::span<double> r = out.add_outcome("repetition_penalty");
        for (std::size_t i = 0; i < r.size(); ++i) {
            detail::ngram_set seen(token.row(i), n, work.index);
            double repeated = 0;
            const std::size_t all = detail::for_each_ngram(token, terms.mask, i, n,
                                                           [&](std::size_t first) { repeated += !seen.insert(first); });
            r[i] = all == 0 ? 0 : -penalty * repeated / static_cast<double>(all);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
