#pragma once
#include "rlgaf/math/moments.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// running_normalize with a memory that fades: follows a discriminator that moves its scale. Changes every outcome that
/// stands before it.
/// Formula: r = (r - mean) / deviation, the moments of earlier steps, of which step K - k weighs decay^k; the start is
///          corrected for. The statistics take in a step after it was used.
/// Units:   deviations (n in the denominator, as the peer has it). Survival bias: none, outcomes are paid once a row.
/// Degenerate: the first step passes unchanged, and so does every step while all rewards were equal. NaN ("does not
///          apply") takes no part and stays; a step of NaN alone is not counted.
/// Errors:  option_error; numeric_error, before the statistics take in what is not finite.
/// Source:  EMANorm of the imitation library, Gleave et al. 2022, arXiv 2211.11972.
struct ema_normalize {
    using role = role::reward;
    double decay = 0.99;     ///< in [0, 1); 0: the step before alone
    bool keep_mean = false;  ///< only scale: subtracting the mean changes what is optimal where rows may end early

    struct state {
        std::vector<ema_moments> outcome;
        template <class Archive>
        void visit(Archive& a) {
            detail::visit_list(a, outcome);
        }
    };
    void check() const { detail::check_option(decay >= 0 && decay < 1, "ema_normalize", "decay", "in [0, 1)", decay); }

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_outcomes(out, "ema_normalize");
        if (s.outcome.size() < out.outcomes()) s.outcome.resize(out.outcomes());
        for (std::size_t k = 0; k < out.outcomes(); ++k) {
            const std::span<double> r = out.outcome(k);
            const ema_moments before = s.outcome[k];
            s.outcome[k].update(moments_of(r), decay);
            const double deviation = std::sqrt(before.variance);
            if (is_constant(deviation, before.mean)) continue;
            const double shift = keep_mean ? 0 : before.mean;
            for (double& v : r) v = (v - shift) / deviation;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
