#pragma once
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/reward_shaping/kl_penalty.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// kl_penalty with k1, whose coefficient follows a controller until the policy is as far from the reference as it should
/// be: RLHF's.
/// Formula: token reward -= beta (log_prob_it - reference_log_prob_it); then the controller sees the mean over rows of
///          the rows' sums and gives the beta of the next step (verl's order).
/// Units:   nats per sequence: that is what controller.target_per_sequence counts. Survival bias: as
///          kl_penalty's.
/// Degenerate: no rows: nothing is paid and beta stays. Rows without unmasked tokens count as 0.
/// Errors:  shape_error; option_error; numeric_error if it measured NaN.
/// Needs:   steps in which the policy stands still lower beta too.
/// Source:  Ziegler et al. 2019, arXiv 1909.08593, section 2.2.
struct adaptive_kl_penalty {
    using role = role::reward;
    static constexpr bool needs_reference = true;
    adaptive_kl controller{};

    struct state {
        adaptive_kl::state controller;
        double beta = 0;             ///< what the last step paid
        double kl_per_sequence = 0;  ///< what it measured, nats
        template <class Archive>
        void visit(Archive& a) {
            controller.visit(a);
            a("paid_beta", beta), a("kl_per_sequence", kl_per_sequence);
        }
    };
    void check() const { controller.check(); }

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out,
                    workspace& work) const {
        check();
        s.beta = s.controller.beta == 0 ? controller.initial : s.controller.beta;
        kl_penalty{.beta = s.beta}(terms, batch, out, work);
        if (out.rows() == 0) return;
        double total = 0;
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            total +=
                static_cast<double>(terms.log_prob.row(b)[t]) - static_cast<double>(terms.reference_log_prob.row(b)[t]);
        });
        s.kl_per_sequence = total / static_cast<double>(out.rows());
        controller(s.controller, s.kl_per_sequence, static_cast<double>(out.rows()));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
