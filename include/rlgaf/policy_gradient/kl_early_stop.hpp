#pragma once
#include <limits>

#include "rlgaf/core/finite.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Says when a round's further passes over the same rows should end, because the policy has gone far enough.
/// Formula: stop where approx_kl > limit.
/// Units:   nats per token, the mean over a step of KL(old || new): policy_loss_stats::kl_old / tokens (its k3).
/// At kinks: a KL equal to the limit goes on.
/// Errors:  option_error; numeric_error for NaN.
/// Needs:   the KL of one step, not of all steps so far: of the last minibatch of a pass (cleanrl), or of each.
/// Source:  Dossa et al. 2021, IEEE Access 9; cleanrl's target_kl; Spinning Up stops at 1.5 times its 0.01.
struct kl_early_stop {
    double limit = 0.015;  ///< nats a token, > 0; infinity: never

    void check() const { detail::check_option(limit > 0, "kl_early_stop", "limit", "positive nats", limit); }

    bool operator()(double approx_kl) const {
        check();
        if (is_nan(&approx_kl)) [[unlikely]]
            fail(error_kind::numeric, "kl_early_stop", "approx_kl", "a number", "nan");
        return approx_kl > limit;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
