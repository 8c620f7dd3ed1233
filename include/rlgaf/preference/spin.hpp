#pragma once
#include <vector>

#include "rlgaf/math/groups.hpp"
#include "rlgaf/preference/dpo.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Self-play fine-tuning: DPO with demonstrations chosen, the policy's own samples rejected and the previous iterate as
/// the reference. It learns from what RLGAF learns from, demonstrations only; the log-ratio to the previous iterate
/// stands where RLGAF has a discriminator.
/// Formula: L = mean over pairs of softplus(-lambda [log-ratio of the demonstration - log-ratio of the sample]).
/// Shapes, Adds, Units, Degenerate, Errors: of dpo, by whose name it reports shapes.
/// Needs:   iterations. At the start of each, take over the policy as the reference, draw the samples from it and
///          keep its log-probs of demonstrations and samples as reference_log_prob; train on the spin_pairs for an
///          epoch or two; begin the next. A reference that stays at the first policy is DPO on stale samples, not SPIN.
/// Source:  Chen et al. 2024, arXiv 2401.01335, section 4.2 and algorithm 1.
struct spin {
    static constexpr bool row_separable = false;
    double lambda = 0.1;  ///< finite, > 0: beta of dpo; the paper raises it in late iterations

    void check() const {
        detail::check_option(lambda > 0 && lambda < std::numeric_limits<double>::infinity(), "spin", "lambda",
                             "finite and positive", lambda);
    }

    template <class T>
    preference_stats operator()(const preference_terms<T>& terms, workspace& work,
                                const ragged_view<T>& d_log_prob) const {
        check();
        return dpo{.beta = lambda}(terms, work, d_log_prob);
    }
};

/// The pairs of concat(demonstrations, samples): sample j, row demonstrations + j, loses to the demonstration that it
/// is matched with. Errors: shape_error. No allocation once `pairs` has grown.
inline void spin_pairs(std::size_t demonstrations, const matching& match, std::vector<preference_pair>& pairs) {
    detail::check_matching(match, demonstrations, match.real_of_fake.size(), "spin_pairs");
    pairs.clear();
    for (std::size_t j = 0; j < match.real_of_fake.size(); ++j)
        pairs.push_back({match.real_of_fake[j], static_cast<std::uint32_t>(demonstrations + j)});
}

}  // namespace rlgaf::inline RLGAF_ABI
