#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A penalty that sets in before the length limit and grows with every further token: DAPO's soft overlong punishment.
/// Formula: r = weight clip((max_length - buffer - n) / buffer, -1, 0), n the row's unmasked tokens. Adds the outcome
///          "soft_overlong" [B].
/// Units:   reward. Survival bias: shorter rows, above max_length - buffer only; it never rewards being short.
/// At kinks: n = max_length - buffer: 0;  n = max_length and above: -weight.
/// Errors:  shape_error; option_error.
/// Source:  Yu et al. 2025, arXiv 2503.14476, equation 13.
struct soft_overlong {
    using role = role::reward;
    double max_length = 20480;  ///< > 0, tokens
    double buffer = 4096;       ///< in (0, max_length], tokens before it in which the penalty grows
    double weight = 1;          ///< >= 0

    void check() const {
        detail::check_option(max_length > 0, "soft_overlong", "max_length", "positive", max_length);
        detail::check_option(buffer > 0 && buffer <= max_length, "soft_overlong", "buffer", "in (0, .max_length]",
                             buffer);
        detail::check_option(weight >= 0, "soft_overlong", "weight", "0 or positive", weight);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_row_lengths(terms, out, "soft_overlong");
        const std::span<double> r = out.add_outcome("soft_overlong");
        for (std::size_t i = 0; i < r.size(); ++i) {
            const double left = max_length - buffer - detail::unmasked_tokens(terms, i);
            r[i] = weight * detail::held_within(left / buffer, -1.0, 0.0);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
