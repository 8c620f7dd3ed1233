#pragma once
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/reward_shaping/kl_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// kl_penalty with k1, whose coefficient is halved or doubled: adaptive_kl_penalty with the controller of the PPO paper.
/// Formula: token reward -= beta (log_prob_it - reference_log_prob_it); then the controller sees the mean over the
///          step's unmasked tokens and gives the beta of the next step.
/// Units:   nats per TOKEN: that is what controller.target_per_token counts.
/// Degenerate: no unmasked token: nothing is paid and beta stays. A mean below 0, which few samples can give, halves.
/// Errors:  shape_error; option_error; numeric_error if it measured NaN.
/// Source:  Schulman et al. 2017, arXiv 1707.06347, section 4. There the KL is to the policy that sampled, in the loss;
///          here it is to the reference, in the reward.
struct kl_step_penalty {
    using role = role::reward;
    static constexpr bool needs_reference = true;
    kl_step_rule controller{};

    struct state {
        kl_step_rule::state controller;
        double beta = 0;          ///< what the last step paid
        double kl_per_token = 0;  ///< what it measured, nats
        template <class Archive>
        void visit(Archive& a) {
            controller.visit(a);
            a("paid_beta", beta), a("kl_per_token", kl_per_token);
        }
    };
    void check() const { controller.check(); }

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out,
                    workspace& work) const {
        check();
        s.beta = s.controller.beta == 0 ? controller.initial : s.controller.beta;
        kl_penalty{.beta = s.beta}(terms, batch, out, work);
        double total = 0, tokens = 0;
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            total +=
                static_cast<double>(terms.log_prob.row(b)[t]) - static_cast<double>(terms.reference_log_prob.row(b)[t]);
            tokens += 1;
        });
        if (tokens == 0) return;
        s.kl_per_token = total / tokens;
        controller(s.controller, s.kl_per_token);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
