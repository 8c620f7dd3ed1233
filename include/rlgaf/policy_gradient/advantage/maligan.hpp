#pragma once
#include "rlgaf/policy_gradient/advantage/ordered_groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows weigh as likely as the discriminator thinks they are to come from the experts: importance weights D / (1 - D),
/// normalised over the rows, so that the policy follows the gradient of the experts' log-likelihood.
/// Formula: A_i = exp(R_i) / (sum of exp(R_j)) - baseline / n, over the n rows of the group; R is the discriminator's
///          logit, so that exp(R) = D / (1 - D).
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Units:   a sum over the group, as in the paper: where the loss is a mean over rows the gradient is 1 / n of it.
/// Degenerate: equal logits, a group of one (both with baseline 1), a row without a reward: 0.
/// Errors:  shape_error; option_error.
/// Needs:   rewards are logits (logit_reward): what is added to them multiplies the odds. Texygen's "MaliGAN" weighs
///          by D itself. Without prompts group_size = 0 compares all rows, which the weights gain from.
/// Source:  Che et al. 2017, arXiv 1702.07983; there the baseline rises from 0 to 1.
struct maligan {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    double baseline = 1;         ///< in [0, 1]; 1 centres the weights, 0 pushes every row up

    void check() const {
        detail::check_option(baseline >= 0 && baseline <= 1, "maligan", "baseline", "in [0, 1]", baseline);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        return detail::estimate_by_order(terms, work, advantage, "maligan",
                                         [this](std::span<const double> logit, std::span<double> out) {
                                             const std::size_t n = logit.size();
                                             double odds = 0;
                                             for (std::size_t j = 0; j < n; ++j)
                                                 odds += out[j] = std::exp(centred(logit[j], logit[n - 1]));
                                             for (double& v : out)
                                                 v = centred(v / odds, baseline / static_cast<double>(n));
                                         });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
