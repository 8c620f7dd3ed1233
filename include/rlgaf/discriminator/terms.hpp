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
    std::span<const double>
        real_weight{};  ///< [n_real], what a row counts in place of 1 / n_real; pointwise losses only
    std::span<const double> fake_weight{};  ///< [n_fake], likewise
    std::size_t width = 1;  ///< numbers a row, row after row: real [n_real, width], fake [n_fake, width]
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

/// Scores of the demonstrations that n samples are compared with: where they stand, if they do so one behind the other,
/// else gathered to `copy`.
template <class T>
const T* matched_scores(const T* real, const std::uint32_t* real_of, std::size_t n, T* copy) noexcept {
    std::uint32_t apart = 0;
    for (std::size_t j = 0; j < n; ++j) apart |= real_of[j] ^ (real_of[0] + static_cast<std::uint32_t>(j));
    if (apart == 0) return real + real_of[0];
    for (std::size_t j = 0; j < n; ++j) copy[j] = real[real_of[j]];
    return copy;
}

/// Share of pairs with real above fake; a tie counts half. There are pairs, and they have been checked.
template <class T>
double share_above(const discriminator_terms<T>& terms) noexcept {
    const std::size_t samples = terms.fake.size();
    T copy[block_tokens];
    double ahead = 0;
    for_each_block(samples, [&](const std::size_t first, const std::size_t n) {
        const T* const real = matched_scores(terms.real.data(), terms.pairs.real_of_fake.data() + first, n, copy);
        const T* const fake = terms.fake.data() + first;
        lane_int<T> above = 0;
        for (std::size_t j = 0; j < n; ++j) above += (real[j] > fake[j]) - (real[j] < fake[j]);
        ahead += static_cast<double>(above);
    });
    return 0.5 * (static_cast<double>(samples) + ahead) / static_cast<double>(samples);
}

template <class T>
double mean_of_scores(std::span<const T> x) noexcept {
    lane_sum sum;
    sum.add(x.data(), x.size());
    return x.empty() ? 0 : sum.total() / static_cast<double>(x.size());
}

template <class T>
discriminator_loss_stats begin_discriminator_loss(const discriminator_terms<T>& terms, std::span<T> d_real,
                                                  std::span<T> d_fake, const char* function, bool pairwise) {
    if (terms.width != 1) [[unlikely]]
        fail(error_kind::shape, function, "terms.width", "1: wrap the loss in per_column", short_text(terms.width));
    check_size(d_real.size(), terms.real.size(), function, "d_real");
    check_size(d_fake.size(), terms.fake.size(), function, "d_fake");
    const std::span<const std::uint32_t> real_of = terms.pairs.real_of_fake;
    std::uint32_t last = 0;  // compilers turn this into vector code, but not a search
    for (const std::uint32_t i : real_of) last = i > last ? i : last;
    const bool given = pairwise || !real_of.empty();
    if (given && (real_of.size() != terms.fake.size() || last >= terms.real.size()))
        check_matching(terms.pairs, terms.real.size(), terms.fake.size(), function);
    discriminator_loss_stats stats;
    stats.real_mean = mean_of_scores(terms.real), stats.fake_mean = mean_of_scores(terms.fake);
    if (!real_of.empty()) stats.accuracy = share_above(terms);
    return stats;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
