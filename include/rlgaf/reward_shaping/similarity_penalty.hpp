#pragma once
#include "rlgaf/reward_shaping/ngrams.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows pay for what they share with the other answers to their prompt: a bonus for diversity within the group.
/// Formula: r_i = -weight mean over the other rows j of the group of (share of row i's n-grams that row j has). Adds
///          the outcome "similarity_penalty" [B].
/// Shapes:  n-grams are runs of unmasked tokens; masked slots are never read.
/// Units:   reward, in [-weight, 0]. Survival bias: longer rows, slightly: more n-grams are harder to share.
/// Degenerate: alone in its group, or shorter than n: 0.
/// Errors:  shape_error; option_error. A batch that does not show its tokens is refused at compile time.
/// Needs:   as many look-ups as tokens times rows of a group. All rows are one group where the estimator has group_size 0.
/// Source:  self-BLEU's precision of one order, Zhu et al. 2018, arXiv 1802.01886, as a reward.
struct similarity_penalty {
    using role = role::reward;
    std::size_t n = 2;    ///< > 0
    double weight = 0.1;  ///< >= 0

    void check() const {
        detail::check_option(n > 0, "similarity_penalty", "n", "positive", static_cast<double>(n));
        detail::check_option(weight >= 0, "similarity_penalty", "weight", "0 or positive", weight);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out, workspace& work) const {
        check();
        const auto token = detail::tokens_of(batch, terms, out, "similarity_penalty");
        detail::check_groups(terms.group, out.rows(), "similarity_penalty");
        const std::span<double> r = out.add_outcome("similarity_penalty");
        std::vector<double>& rows = work.a;
        rows.assign(terms.group.count, 0.0);
        for (const std::uint32_t g : terms.group.id) rows[g] += 1;
        for (std::size_t j = 0; j < r.size(); ++j) {
            const double others = rows[terms.group.id[j]] - 1;
            if (others == 0) continue;
            detail::ngram_set seen(token.row(j), n, work.index);
            detail::for_each_ngram(token, terms.mask, j, n, [&](std::size_t first) { seen.insert(first); });
            for (std::size_t i = 0; i < r.size(); ++i) {
                if (i == j || terms.group.id[i] != terms.group.id[j]) continue;
                double shared = 0;
                const std::size_t all = detail::for_each_ngram(
                    token, terms.mask, i, n, [&](std::size_t first) { shared += seen.contains(token.row(i), first); });
                if (all > 0) r[i] -= weight * shared / static_cast<double>(all) / others;
            }
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
