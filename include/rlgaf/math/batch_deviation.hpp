#pragma once
#include "rlgaf/core/error.hpp"
#include "rlgaf/math/moments.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

struct column_spread {
    double mean = 0, deviation = 0;
};

/// Of column k of rows of `width` numbers, with the biased variance; what is only the mean's rounding counts as equal.
template <class T>
column_spread spread_of_column(std::span<const T> score, std::size_t width, std::size_t k) {
    const double n = static_cast<double>(score.size() / width);
    column_spread s;
    for (std::size_t i = k; i < score.size(); i += width) s.mean += static_cast<double>(score[i]);
    s.mean /= n;
    for (std::size_t i = k; i < score.size(); i += width) {
        const double d = centred(static_cast<double>(score[i]), s.mean);
        s.deviation += d * d;
    }
    s.deviation = std::sqrt(s.deviation / n);
    return s;
}

/// The first column of features; with two columns the score is its own.
inline std::size_t first_feature(std::size_t width) noexcept { return width > 2 ? 2 : 0; }

inline void check_deviation_width(std::size_t width, std::size_t numbers, const char* argument) {
    if (width < 2) [[unlikely]]
        fail(error_kind::shape, "batch_deviation", "terms.width", "2 or more: score, gate, features",
             short_text(width));
    check_size(numbers, numbers / width * width, "batch_deviation", argument);
}

}  // namespace detail

/// m: the mean over features of their deviation over the rows of one side. Shapes: score [n, width]. No rows: 0.
template <class T>
double mean_deviation(std::span<const T> score, std::size_t width) {
    detail::check_deviation_width(width, score.size(), "score");
    if (score.empty()) return 0;
    const std::size_t first = detail::first_feature(width), features = width > 2 ? width - 2 : 1;
    double sum = 0;
    for (std::size_t k = first; k < first + features; ++k) sum += detail::spread_of_column(score, width, k).deviation;
    return sum / static_cast<double>(features);
}

/// The scores s' that batch_deviation's inner loss sees, of one side: what the policy's reward must read.
/// Shapes: score [n, width], out [n] (overwritten). Errors: shape_error.
template <class T>
void deviation_scores(std::span<const T> score, std::size_t width, std::span<T> out) {
    const double m = mean_deviation(score, width);
    detail::check_size(out.size(), score.size() / width, "batch_deviation", "out");
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<T>(static_cast<double>(score[i * width]) + static_cast<double>(score[i * width + 1]) * m);
}

}  // namespace rlgaf::inline RLGAF_ABI
