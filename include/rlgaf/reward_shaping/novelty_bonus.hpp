#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows are paid for tokens that were unlikely: a bonus for the policy's entropy, given through the reward.
/// Formula: r_i = weight mean over unmasked tokens of -log_prob_it. Adds the outcome "novelty" [B].
/// Shapes:  log_prob [B, length]; masked slots are never read.
/// Units:   nats a token. Survival bias: none, it is a mean.
/// Degenerate: a row without unmasked tokens: 0.
/// Errors:  shape_error; option_error.
/// Source:  Xu et al. 2018, arXiv 1802.01345 (DPGAN), whose novelty is measured by a discriminator that models
///          language; here by the policy that sampled.
struct novelty_bonus {
    using role = role::reward;
    double weight = 0.01;  ///< finite; below 0 it favours the likely

    void check() const {
        detail::check_option(std::abs(weight) < std::numeric_limits<double>::infinity(), "novelty_bonus", "weight",
                             "a finite number", weight);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_row_lengths(terms, out, "novelty_bonus");
        const std::span<double> r = out.add_outcome("novelty");
        for (std::size_t i = 0; i < r.size(); ++i) {
            const double n = detail::unmasked_tokens(terms, i);
            r[i] = n == 0 ? 0 : -weight * masked_row_sum(terms.log_prob, terms.mask, i) / n;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
