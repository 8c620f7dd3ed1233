#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Divides all rewards that stand before it, outcomes and tokens, by the running deviation of discounted returns. One
/// divisor for all of them: what is optimal stays, until `clip` acts.
/// Formula: G_it = discount G_i,t-1 + r_it over unmasked tokens in order, the outcomes paid at the last one; r /=
///          deviation of all G so far, this step's included; then within +-clip.
/// Shapes:  masked slots are neither read nor written.
/// Units:   deviations of a return. Survival bias: that of the rewards, whose signs stay.
/// Degenerate: returns that were all equal so far: unchanged, but for the clip. NaN outcomes take no part and stay. The
///          outcomes of a row without unmasked tokens are not counted, but divided.
/// Errors:  shape_error; option_error; numeric_error, before the statistics take in what is not finite.
/// Source:  VecNormalize of Stable-Baselines3, Raffin et al. 2021 (JMLR 22): it starts from one made-up return and adds
///          1e-8 to the variance; here there is neither.
struct return_scale {
    using role = role::reward;
    double discount = 0.99;  ///< in [0, 1]
    double clip = 10;        ///< > 0

    struct state {
        moments returns;
        template <class Archive>
        void visit(Archive& a) {
            returns.visit(a);
        }
    };
    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "return_scale", "discount", "in [0, 1]", discount);
        detail::check_option(clip > 0, "return_scale", "clip", "positive", clip);
    }

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        check();
        detail::check_row_lengths(terms, out, "return_scale");
        const bool stepwise = !out.view().token.empty();
        const ragged_view<T> token = stepwise ? out.token() : ragged_view<T>{};
        detail::check_same_shape_if_given(terms.log_prob, token, "return_scale", "token rewards");
        detail::check_outcomes(out, "return_scale");
        detail::check_finite(out.view().token, terms.mask, "return_scale", "token reward");
        work.a.clear();
        for (std::size_t b = 0; b < out.rows(); ++b) {
            const std::size_t first = work.a.size();
            double total = 0;
            const included_tokens included(terms.mask, b);
            for (std::size_t t = 0; t < terms.log_prob.length(b); ++t)
                if (included[t])
                    work.a.push_back(total = discount * total + (stepwise ? static_cast<double>(token.row(b)[t]) : 0));
            for (std::size_t k = 0; k < out.outcomes() && work.a.size() > first; ++k)
                if (const double r = out.outcome(k)[b]; !is_nan(&r)) work.a.back() += r;
        }
        s.returns.merge(moments_of(detail::span_of(work.a)));
        const double by = is_constant(s.returns.deviation(), 0) ? 1 : s.returns.deviation();
        for (std::size_t k = 0; k < out.outcomes(); ++k)
            for (double& r : out.outcome(k)) r = detail::held_within(r / by, -clip, clip);
        for_each_token(token, terms.mask, [&](std::size_t b, std::size_t t) {
            T& r = token.row(b)[t];
            r = static_cast<T>(detail::held_within(static_cast<double>(r) / by, -clip, clip));
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
