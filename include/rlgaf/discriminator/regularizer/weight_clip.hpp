#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/error.hpp"
#include "rlgaf/core/scalar.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Holds every parameter of the discriminator within +-limit after its step: the first WGAN. Slow and prone to underfit;
/// gradient_penalty and r1 replaced it.
/// Formula: w = min(max(w, -limit), limit).
/// Errors:  option_error.
/// Needs:   a scorer with flat_parameters.
/// Source:  Arjovsky et al. 2017, arXiv 1701.07875, algorithm 1.
struct weight_clip {
    using role = role::weight_constraint;
    double limit = 0.01;  ///< > 0

    void check() const { detail::check_option(limit > 0, "weight_clip", "limit", "positive", limit); }

    template <class Blocks>
    void after_step(const Blocks& blocks) const {
        check();
        for (const auto& block : blocks)
            for (auto& w : block.values) {
                using T = std::remove_reference_t<decltype(w)>;
                const double x = static_cast<double>(w);
                w = static_cast<T>(x > limit ? limit : x < -limit ? -limit : x);
            }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
