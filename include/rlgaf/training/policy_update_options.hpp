#pragma once
#include "rlgaf/backend/policy.hpp"
#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/policy_gradient/kl.hpp"
#include "rlgaf/training/step_measures.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct policy_update_options {
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    std::size_t epochs = 1;       ///< passes over the round's samples, > 0
    std::size_t minibatches = 1;  ///< optimiser steps a pass, > 0, at most one a row
    aggregate aggregation{};
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    double stop_kl =
        0;  ///< > 0: no epoch after one whose last step measured a mean k3 of KL(old || new) above it, nats
            ///< a token (cleanrl's target_kl); 0: off
    bool normalize_minibatch = false;  ///< advantages to mean 0 and deviation 1 within each optimiser step (cleanrl);
                                       ///< rows without a reward keep 0 and are in neither

    void check() const {
        step.check();
        aggregation.check();
        detail::check_option(epochs > 0, "policy_update_options", "epochs", "at least 1", 0);
        detail::check_option(minibatches > 0, "policy_update_options", "minibatches", "at least 1", 0);
        detail::check_option(stop_kl >= 0, "policy_update_options", "stop_kl", "0 or positive nats", stop_kl);
    }
};

struct policy_update_report {
    advantage_stats advantage;
    policy_loss_stats loss;                                     ///< summed over all steps
    regularizer_stats regularizer;                              ///< likewise, all regularisers together
    double grad_norm = 0;                                       ///< of the last step, before clipping
    std::size_t steps = 0;                                      ///< applied
    std::size_t discarded = 0;                                  ///< steps whose gradient was not finite
    std::size_t epochs = 0;                                     ///< begun; fewer than asked for: stop_kl was exceeded
    double kl_last = std::numeric_limits<double>::quiet_NaN();  ///< mean k3 that stop_kl was last compared with
    token_weight_stats token_weight;                            ///< of the weights that the steps used
    moments entropy;                                            ///< over the tokens of all steps, where measured
    double entropy_coefficient =
        std::numeric_limits<double>::quiet_NaN();  ///< that a controller left for the next step
    double chosen_rows =
        std::numeric_limits<double>::quiet_NaN();  ///< repeats included, where a component chooses rows
};

namespace detail {

/// Regularisers that bring rows of their own and accumulate a gradient themselves (see ptx).
template <class C>
constexpr bool has_rows_of_its_own() {
    if constexpr (requires { C::has_rows_of_its_own; })
        return C::has_rows_of_its_own;
    else
        return false;
}
/// Advantage estimators whose advantages contain the importance weight already (V-trace).
template <class C>
constexpr bool weighs_by_itself() {
    if constexpr (requires { C::needs_behaviour_log_prob; })
        return C::needs_behaviour_log_prob;
    else
        return false;
}
template <class C>
constexpr bool row_separable() {
    if constexpr (requires { C::row_separable; })
        return C::row_separable;
    else
        return false;
}

}  // namespace detail

}  // namespace rlgaf::inline RLGAF_ABI
