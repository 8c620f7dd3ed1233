#pragma once
#include "rlgaf/policy_gradient/entropy.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// entropy_bonus whose coefficient follows adaptive_entropy: off while the policy is undecided enough, stronger step by
/// step once it is not.
/// Formula: entropy_bonus with the coefficient that adaptive_entropy gave after the last step; 0 before the first one.
/// Shapes, Adds, Units: of entropy_bonus.
/// Errors:  shape_error; option_error; numeric_error if it measured NaN.
/// Needs:   after_step once after every optimiser step, with the mean entropy of the whole step: update_policy does it.
/// Source:  He et al. 2025 (Skywork-OR1), arXiv 2505.22312.
struct adaptive_entropy_bonus {
    using role = role::policy_regularizer;
    static constexpr bool needs_entropy = true;
    static constexpr bool row_separable = true;
    adaptive_entropy controller{};

    struct state {
        adaptive_entropy::state controller;
        double coefficient = 0;  ///< of the next step
        template <class Archive>
        void visit(Archive& a) {
            controller.visit(a);
            a("next_coefficient", coefficient);
        }
    };
    void check() const { controller.check(); }

    template <class T>
    regularizer_stats operator()(state& s, const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_entropy) const {
        check();
        return entropy_bonus{.coefficient = s.coefficient}(terms, row_weight, d_entropy);
    }
    void after_step(state& s, double mean_entropy) const { s.coefficient = controller(s.controller, mean_entropy); }
};

}  // namespace rlgaf::inline RLGAF_ABI
