#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/math/schedule.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Normal noise on what the discriminator reads, demonstrations and samples alike, while it trains: gives two kinds of rows
/// that never meet something in common, so that it cannot be sure too early.
/// Formula: inputs + d, d normal of deviation sigma(step); sigma falls to 0 by its schedule.
/// Units:   of the inputs; steps are steps of the discriminator.
/// Errors:  option_error.
/// Needs:   a scorer that perturbs_inputs. Its dropout is off in these passes.
/// Source:  Arjovsky and Bottou 2017, arXiv 1701.04862; Sonderby et al. 2016, arXiv 1610.04490.
struct instance_noise {
    using role = role::input_noise;
    static constexpr bool on_inputs = true;
    schedule sigma{.shape = schedule_shape::linear, .from = 0.5, .to = 0, .steps = 100};

    struct state {
        std::uint64_t steps = 0;
        template <class Archive>
        void visit(Archive& a) {
            a("steps", steps);
        }
    };
    void check() const { sigma.check(); }

    /// The deviation for the next step.
    double operator()(state& s) const { return sigma(s.steps++); }
};

}  // namespace rlgaf::inline RLGAF_ABI
