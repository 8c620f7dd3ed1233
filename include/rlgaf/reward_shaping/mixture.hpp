#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

/// Weights for outcomes that stand before them in the pipeline, by name. A row earns the sum of its outcomes. NaN
/// ("does not apply") stays. Errors: option_error, also where no earlier stage adds an outcome of that name. Survival
/// bias: unchanged.
namespace rlgaf::inline RLGAF_ABI {

/// Formula: the outcome *= weight. `logit_reward{}, group_normalize{}, scale_outcome{.weight = 0.5}` and a verifiable
///          reward after it are the usual weighted sum.
struct scale_outcome {
    using role = role::reward;
    chars name = "discriminator";  ///< of the outcome
    double weight = 1;             ///< finite; 0 leaves the outcome for gates to read and pays nothing

    void check() const {
        detail::check_option(std::abs(weight) < std::numeric_limits<double>::infinity(), "scale_outcome", "weight",
                             "a finite number", weight);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        check();
        for (double& r : detail::outcome_named(out, name, "scale_outcome", "name")) r *= weight;
    }
};

/// Formula: adversarial *= lambda, objective *= 1 - lambda: 1 is the discriminator alone (SeqGAN), 0 the objective
///          alone.
/// Degenerate: where one of the two does not apply the other keeps its share.
/// Source:  Guimaraes et al. 2017, arXiv 1705.10843 (ORGAN).
struct organ_mixture {
    using role = role::reward;
    double lambda = 0.5;                  ///< in [0, 1]
    chars adversarial = "discriminator";  ///< name of an outcome
    chars objective = "objective";        ///< name of an outcome

    void check() const {
        detail::check_option(lambda >= 0 && lambda <= 1, "organ_mixture", "lambda", "in [0, 1]", lambda);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        check();
        const std::span<double> a = detail::outcome_named(out, adversarial, "organ_mixture", "adversarial"),
                                o = detail::outcome_named(out, objective, "organ_mixture", "objective");
        for (double& r : a) r *= lambda;
        for (double& r : o) r *= 1 - lambda;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
