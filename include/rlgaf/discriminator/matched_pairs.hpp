#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What a loss with ties makes of the three probabilities: the demonstration wins, the sample wins, neither.
enum class tie_objective : std::uint8_t {
    likelihood,      ///< minus the log-probability of the label
    expected_reward  ///< minus what a critic earns: 1 for the demonstration, reward_of_tie for neither
};

namespace detail {

inline void check_tie_options(tie_objective objective, double tie, double reward_of_tie, bool has_ties,
                              const char* component) {
    check_option(tie >= 0 && tie < 1, component, "tie", "in [0, 1)", tie);
    check_option(tie == 0 || (has_ties && objective == tie_objective::likelihood), component, "tie",
                 "0 for a model without ties and with expected_reward", tie);
    check_option(reward_of_tie >= 0 && reward_of_tie <= 1, component, "reward_of_tie", "in [0, 1]", reward_of_tie);
}

/// What a formula gives for one pair.
template <class T>
struct matched_slopes {
    T loss, real, fake;  ///< and its derivatives by the two scores
};
/// Of a loss of the gap alone.
template <class T>
RLGAF_INLINE matched_slopes<T> of_gap(T loss, T slope) noexcept {
    return {loss, slope, -slope};
}

/// Sum of formula(score of the demonstration, score of the sample).loss over samples; adds the slopes times `share`.
template <class T, class Formula>
RLGAF_FLATTEN double sum_pairs(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                               double share, Formula&& formula) {
    const std::size_t samples = terms.fake.size();
    lane_sum total;
    const T weight = static_cast<T>(share);
    T copy[block_tokens];
    struct {  // in one piece: clang compares each input with it once
        T loss[block_tokens], real[block_tokens], fake[block_tokens];
    } out;
    for_each_block(samples, [&](const std::size_t first, const std::size_t n) {
        const std::uint32_t* const real_of = terms.pairs.real_of_fake.data() + first;
        const T* const real = matched_scores(terms.real.data(), real_of, n, copy);
        const T* const fake = terms.fake.data() + first;
        T* const d = d_fake.data() + first;
        for (std::size_t j = 0; j < n; ++j) {
            const matched_slopes<T> pair = formula(real[j], fake[j]);
            out.loss[j] = pair.loss;
            out.real[j] = weight * pair.real;
            out.fake[j] = weight * pair.fake;
        }
        total.add(out.loss, n);
        for (std::size_t j = 0; j < n; ++j) d[j] += out.fake[j];
        if (real != copy) {
            T* const e = d_real.data() + real_of[0];
            for (std::size_t j = 0; j < n; ++j) e[j] += out.real[j];
        } else {
            for (std::size_t j = 0; j < n; ++j) d_real[real_of[j]] += out.real[j];
        }
    });
    return total.total();
}

/// The mean of formula(score of the demonstration, score of the sample) over samples, with its gradient.
/// The formula is arithmetic without branches if it is to become vector code. No samples: loss 0, no gradient.
template <class T, class Formula>
discriminator_loss_stats map_pairs(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                                   const char* function, Formula&& formula) {
    discriminator_loss_stats stats = begin_discriminator_loss(terms, d_real, d_fake, function, true);
    if (terms.fake.empty()) return stats;
    const double weight = 1 / static_cast<double>(terms.fake.size());
    stats.loss = weight * sum_pairs(terms, d_real, d_fake, weight, formula);
    return stats;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
