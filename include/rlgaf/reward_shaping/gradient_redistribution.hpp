#pragma once
#include <cmath>

#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Moves the outcomes that stand before it from rows to tokens, to each what it has to do with the score: by the
/// discriminator's gradient at its embedding, or whatever else the scorer says in `attribute`. A scorer with attention
/// gives its attention weights there, and this is attention-weighted redistribution.
/// Formula: token reward += R_i |w_it| / sum_s |w_is| over unmasked tokens, R_i the sum of the row's outcomes; bundled
///          scorers say w_t = e_t . d score / d e_t. The last token of a weight above 0 takes the rest that rounding
///          leaves. The moved outcomes become 0.
/// Shapes:  token_weight [B, length]; masked slots are neither read nor paid.
/// Units:   reward a token. Weights have none: they are divided by their sum. Survival bias: none in the row's sum.
/// Degenerate: weights that are all 0 (a saturated scorer): equal parts, as uniform_redistribution. Rows without
///          unmasked tokens keep their outcomes. NaN ("does not apply") is not moved and stays,
///          and such a row has no reward.
/// Errors:  shape_error.
/// Needs:   token_weight, which the trainer gives where needs_token_weight is set, of a scorer that attributes_tokens.
///          An estimator that pays steps (reinforce, gae): one that sums a row, as grpo does, sees no difference. Discount
///          1 there: with less the row's sum is no longer what counts. Weights have no sign: a token that spoils a good
///          row is paid as one that makes it.
/// Source:  gradient times input: Shrikumar et al. 2016, arXiv 1605.01713; parts of one return for its steps:
///          Arjona-Medina et al. 2018, arXiv 1806.07857 (RUDDER, by the change of a predicted return).
struct gradient_redistribution {
    using role = role::reward;
    static constexpr bool needs_token_weight = true;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        const ragged_view<T> token =
            detail::tokens_to_pay(terms, terms.token_weight, out, "gradient_redistribution", "terms.token_weight");
        for (std::size_t b = 0; b < token.rows(); ++b)
            share_out(terms.token_weight.row(b), included_tokens(terms.mask, b), token.row(b), out, b);
    }

private:
    template <class T>
    static void share_out(std::span<const T> weight, const included_tokens& included, std::span<T> paid,
                          rewards<T>& out, std::size_t b) {
        double sum = 0;
        std::size_t last = paid.size(), last_heavy = paid.size();
        for (std::size_t t = 0; t < paid.size(); ++t) {
            if (!included[t]) continue;
            const double w = std::abs(static_cast<double>(weight[t]));
            sum += w;
            last = t;
            if (w > 0) last_heavy = t;
        }
        if (last == paid.size()) return;
        const bool even = !(sum > 0);
        if (even) {
            last_heavy = last;
            for (std::size_t t = 0; t <= last; ++t) sum += included[t] ? 1 : 0;
        }
        const double whole = detail::take_outcomes(out, b);
        double left = whole;
        for (std::size_t t = 0; t < last_heavy; ++t) {
            if (!included[t]) continue;
            const T part = static_cast<T>(whole * ((even ? 1 : std::abs(static_cast<double>(weight[t]))) / sum));
            paid[t] += part;
            left -= static_cast<double>(part);
        }
        paid[last_heavy] += static_cast<T>(left);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
