#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/core/token_map.hpp"
#include "rlgaf/math/groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What a discriminator loss reads: raw scores of demonstrations and of samples; demonstrations should score high.
template <class T>
struct discriminator_terms {
    std::span<const T> real;  ///< [n_real]
    std::span<const T> fake;  ///< [n_fake]
    matching pairs;           ///< which demonstration each sample is compared with; pointwise losses need none
    std::span<const double> real_weight{};  ///< [n_real], what a row counts in place of 1 / n_real; pointwise losses only
    std::span<const double> fake_weight{};  ///< [n_fake], likewise
    std::size_t width = 1;                  ///< numbers a row, row after row: real [n_real, width], fake [n_fake, width]
};

/// What a loss of token scores reads. Masked slots are never touched.
template <class T>
struct token_discriminator_terms {
    ragged_view<const T> real, fake;  ///< [n, length]
    mask_view real_mask{}, fake_mask{};
};

/// What a critic of pairs gave: row j holds three numbers, for "the demonstration is better", "the sample is better" and
/// "neither".
template <class T>
struct pair_terms {
    std::span<const T> score;  ///< [n, 3]
};

struct discriminator_loss_stats {
    double loss = 0;
    double accuracy = 0.5;  ///< share of matched pairs with real above fake; a tie counts half; no pairs: a guess
    double real_mean = 0, fake_mean = 0;
};

namespace detail {

template <class T>
discriminator_loss_stats begin_discriminator_loss(const discriminator_terms<T>& terms, std::span<T> d_real,
                                                  std::span<T> d_fake, const char* function, bool pairwise) {
    if (terms.width != 1) [[unlikely]]
        fail(error_kind::shape, function, "terms.width", "1: wrap the loss in per_column", short_text(terms.width));
    check_size(d_real.size(), terms.real.size(), function, "d_real");
    check_size(d_fake.size(), terms.fake.size(), function, "d_fake");
    const std::span<const std::uint32_t> real_of = terms.pairs.real_of_fake;
    if (pairwise || !real_of.empty()) check_matching(terms.pairs, terms.real.size(), terms.fake.size(), function);
    discriminator_loss_stats stats;
    const auto mean = [](std::span<const T> x) {
        lane_sum sum;
        sum.add(x.data(), x.size());
        return x.empty() ? 0 : sum.total() / static_cast<double>(x.size());
    };
    stats.real_mean = mean(terms.real), stats.fake_mean = mean(terms.fake);
    double above = 0;
    for (std::size_t j = 0; j < real_of.size(); ++j) {
        const T r = terms.real[real_of[j]], f = terms.fake[j];
        above += 0.5 * (1 + (r > f) - (r < f));
    }
    if (!real_of.empty()) stats.accuracy = above / static_cast<double>(real_of.size());
    return stats;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
