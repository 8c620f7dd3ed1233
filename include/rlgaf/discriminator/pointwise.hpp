#pragma once
#include "rlgaf/discriminator/terms.hpp"

/// The loop that pointwise losses share: those that look at one score at a time. They say so by
/// `static constexpr bool pointwise = true`, and they alone read terms.real_weight and terms.fake_weight: where these
/// are given, the loss is the sum of w_i l_i and the gradient w_i l'_i, else every w_i is 1 / n of its side. A weight
/// may be any number: learning from positive and unlabelled rows needs negative ones. NaN passes through.
namespace rlgaf::inline RLGAF_ABI::detail {

/// What the formula of a pointwise loss gives for a score.
template <class T>
struct score_term {
    T value, slope;
};

/// Sum of w_i formula(score_i).value; d_score += w_i formula(score_i).slope. `formula` is arithmetic and comparisons
/// that are used once, so that compilers turn the loop into vector code.
template <class T, class Formula>
RLGAF_FLATTEN double score_side(std::span<const T> score, std::span<const double> weight, std::span<T> d_score,
                                Formula formula) {
    struct {  // apart from the caller's arrays, in one piece: no compiler has to ask whether they overlap
        T weight[block_tokens], loss[block_tokens], slope[block_tokens];
    } x;
    if (weight.empty())
        for (T& w : x.weight) w = static_cast<T>(1 / static_cast<double>(score.size()));
    lane_sum total;
    for_each_block(score.size(), [&](const std::size_t first, const std::size_t n) {
        const T* const s = score.data() + first;
        T* const d = d_score.data() + first;
        if (!weight.empty())
            for (std::size_t i = 0; i < n; ++i) x.weight[i] = static_cast<T>(weight[first + i]);
        for (std::size_t i = 0; i < n; ++i) {
            const auto term = formula(s[i]);
            x.loss[i] = x.weight[i] * term.value;
            x.slope[i] = x.weight[i] * term.slope;
        }
        total.add(x.loss, n);
        for (std::size_t i = 0; i < n; ++i) d[i] += x.slope[i];
    });
    return total.total();
}

/// A whole pointwise loss: `real` and `fake` map a T to a score_term<T>.
template <class T, class Real, class Fake>
discriminator_loss_stats pointwise_loss(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                                        const char* function, Real real, Fake fake) {
    discriminator_loss_stats stats = begin_discriminator_loss(terms, d_real, d_fake, function, false);
    if (!terms.real_weight.empty())
        check_size(terms.real_weight.size(), terms.real.size(), function, "terms.real_weight");
    if (!terms.fake_weight.empty())
        check_size(terms.fake_weight.size(), terms.fake.size(), function, "terms.fake_weight");
    stats.loss = score_side(terms.real, terms.real_weight, d_real, real);
    stats.loss += score_side(terms.fake, terms.fake_weight, d_fake, fake);
    return stats;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
