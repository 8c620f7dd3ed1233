#pragma once
#include <cstdint>
#include <limits>
#include <span>

#include "rlgaf/core/reduce.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Row `chosen` of the step is preferred to row `rejected`. A row may be in any number of pairs.
struct preference_pair {
    std::uint32_t chosen = 0, rejected = 0;
    double weight = 1;  ///< finite, >= 0: its share of the loss relative to the other pairs; 0: it takes no part
};

/// What a preference loss on log-probs reads: [B, length] each. Only log_prob receives a gradient.
template <class T>
struct preference_terms {
    ragged_view<const T> log_prob;
    ragged_view<const T> reference_log_prob;  ///< of the fixed policy that the log-ratio is taken to
    std::span<const preference_pair> pairs;
    mask_view mask{};                  ///< optional
    std::span<const double> margin{};  ///< optional [pairs]: by how much the chosen reward is to be above the other
    std::span<const double> factor{};  ///< optional [pairs]: multiplies the pair's loss, but does not count as a weight
};

/// Means over the pairs by their weights.
struct preference_stats {
    double loss = 0;
    double chosen = 0, rejected = 0;  ///< rewards: scores, or implicit rewards
    double accuracy = 0.5;            ///< share with the chosen reward above; a tie counts half; no pairs: a guess
    double margin = 0;                ///< chosen - rejected
};

namespace detail {

[[noreturn]] RLGAF_COLD inline void fail_pair(std::size_t p, const preference_pair& pair, std::size_t rows,
                                              const char* function) {
    if (pair.chosen >= rows || pair.rejected >= rows)
        fail(error_kind::shape, function, short_text("pairs[", p, "]"), short_text("rows below ", rows),
             short_text(pair.chosen, " and ", pair.rejected));
    if (pair.chosen == pair.rejected)
        fail(error_kind::shape, function, short_text("pairs[", p, "]"), "two different rows",
             short_text("row ", pair.chosen, " twice"));
    fail(error_kind::numeric, function, short_text("pairs[", p, "].weight"), "a finite number that is 0 or positive",
         short_text(pair.weight));
}

/// Sum of the weights. Errors: shape_error; numeric_error.
inline double check_pairs(std::span<const preference_pair> pairs, std::size_t rows, const char* function) {
    constexpr std::size_t lanes = 4;  // additions that do not wait for each other
    double total[lanes] = {};
    for (std::size_t p = 0; p < pairs.size(); ++p) {
        const preference_pair& pair = pairs[p];
        if (pair.chosen >= rows || pair.rejected >= rows || pair.chosen == pair.rejected ||
            !(pair.weight >= 0 && pair.weight < std::numeric_limits<double>::infinity())) [[unlikely]]
            fail_pair(p, pair, rows, function);
        total[p % lanes] += pair.weight;
    }
    return (total[0] + total[1]) + (total[2] + total[3]);
}

/// `stats` starts with accuracy 0; the shares of all pairs sum to 1.
inline void add_pair(preference_stats& stats, double share, double loss, double chosen, double rejected) {
    stats.loss += share * loss;
    stats.chosen += share * chosen;
    stats.rejected += share * rejected;
    stats.accuracy += share * 0.5 * (1 + (chosen > rejected) - (chosen < rejected));
    stats.margin += share * (chosen - rejected);
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
