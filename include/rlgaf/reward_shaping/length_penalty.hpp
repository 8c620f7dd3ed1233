#pragma once
#include <limits>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows pay for every token above a target length, and for every one below it.
/// Formula: r = -over max(n - target, 0) - under max(target - n, 0), n the row's unmasked tokens. Adds the outcome
///          "length_penalty" [B].
/// Units:   reward a token. Survival bias: towards the target.
/// At kinks: n = target: 0.
/// Errors:  shape_error; option_error.
/// Source:  with over = under: Aggarwal and Welleck 2025, arXiv 2503.04697 (L1-Exact).
struct length_penalty {
    using role = role::reward;
    double target = 256;  ///< >= 0, tokens
    double over = 0.001;  ///< finite, >= 0, a token
    double under = 0;     ///< finite, >= 0, a token

    void check() const {
        const auto check_rate = [](const char* field, double x) {
            detail::check_option(x >= 0 && x < std::numeric_limits<double>::infinity(), "length_penalty", field,
                                 "a finite number that is 0 or positive", x);
        };
        check_rate("target", target), check_rate("over", over), check_rate("under", under);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        detail::check_row_lengths(terms, out, "length_penalty");
        const std::span<double> r = out.add_outcome("length_penalty");
        for (std::size_t i = 0; i < r.size(); ++i) {
            const double above = detail::unmasked_tokens(terms, i) - target;
            r[i] = above > 0 ? -over * above : under * above;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
