#pragma once
#include "rlgaf/reward_shaping/ngrams.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Equal answers to a prompt share their reward: each outcome that stands before it is divided by how many rows of the
/// group are equal to the row.
/// Formula: r_i /= number of rows j of the group with the same unmasked tokens, i included, where r_i > 0.
/// Shapes:  masked slots are never read.
/// Units:   those of the outcome. Survival bias: none.
/// Degenerate: rewards of 0 or less stay: divided, a bad answer would gain by being common. NaN stays.
/// Errors:  shape_error. A batch that does not show its tokens is refused at compile time.
/// Needs:   outcomes above 0 where they are good: stands before normalisers.
/// Source:  count-based discounts; Bellemare et al. 2016, arXiv 1606.01868 have 1 / sqrt(count) as a bonus.
struct duplicate_discount {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out, workspace& work) const {
        const auto token = detail::tokens_of(batch, terms, out, "duplicate_discount");
        detail::check_groups(terms.group, out.rows(), "duplicate_discount");
        work.index.assign(out.rows(), 0);
        for (std::size_t i = 0; i < out.rows(); ++i) {
            std::uint64_t hash = terms.group.id[i];
            detail::for_each_ngram(token, terms.mask, i, 1,
                                   [&](std::size_t t) { hash = detail::hash_token(hash, token.row(i)[t]); });
            work.index[i] = static_cast<std::size_t>(hash);
        }
        for (std::size_t i = 0; i < out.rows(); ++i) {
            double count = 0;
            for (std::size_t j = 0; j < out.rows(); ++j)
                count += work.index[i] == work.index[j] && terms.group.id[i] == terms.group.id[j] &&
                         same_tokens(token, terms.mask, i, j);
            for (std::size_t k = 0; k < out.outcomes(); ++k)
                if (double& r = out.outcome(k)[i]; r > 0) r /= count;
        }
    }

private:
    static bool same_tokens(const ragged_view<const std::int32_t>& token, const mask_view& mask, std::size_t i,
                            std::size_t j) {
        const included_tokens in_i(mask, i), in_j(mask, j);
        std::size_t s = 0, t = 0;
        for (;; ++s, ++t) {
            while (s < token.length(i) && !in_i[s]) ++s;
            while (t < token.length(j) && !in_j[t]) ++t;
            if (s == token.length(i) || t == token.length(j)) return s == token.length(i) && t == token.length(j);
            if (token.row(i)[s] != token.row(j)[t]) return false;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
