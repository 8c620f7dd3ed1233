#pragma once
#include <cmath>
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Takes from the discriminator's reward what it gives for length alone.
/// Formula: r -= beta log(1 + n), n the row's unmasked tokens, in the outcome of that name.
/// Units:   reward. Survival bias: shorter rows for beta > 0, against a discriminator that favours long ones.
/// Degenerate: a row without unmasked tokens: unchanged. NaN stays.
/// Errors:  shape_error; option_error, also where no earlier stage adds the outcome.
/// Needs:   stands before normalisers. The discriminator learns to favour lengths if demonstrations and samples differ
///          in them.
/// Source:  the length option of PRISM, arXiv 2604.28123.
struct length_debias {
    using role = role::reward;
    double beta = 0.1;                ///< finite
    chars outcome = "discriminator";  ///< name of the outcome that it changes

    void check() const {
        detail::check_option(std::abs(beta) < std::numeric_limits<double>::infinity(), "length_debias", "beta",
                             "a finite number", beta);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_row_lengths(terms, out, "length_debias");
        const std::span<double> r = detail::outcome_named(out, outcome, "length_debias", "outcome");
        for (std::size_t i = 0; i < r.size(); ++i) r[i] -= beta * std::log1p(detail::unmasked_tokens(terms, i));
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
