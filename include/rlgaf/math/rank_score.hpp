#pragma once
#include <cmath>
#include <span>
#include <vector>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// Rows of `x` [n, width] scaled to length 1, and their lengths; a row of zeros stays as it is.
template <class T>
void unit_rows(std::span<const T> x, std::size_t width, double* unit, double* norm) {
    for (std::size_t i = 0; i < x.size() / width; ++i, unit += width) {
        double squares = 0;
        for (std::size_t k = 0; k < width; ++k) {
            unit[k] = static_cast<double>(x[i * width + k]);
            squares += unit[k] * unit[k];
        }
        norm[i] = std::sqrt(squares);
        for (std::size_t k = 0; k < width; ++k) unit[k] /= squares > 0 ? norm[i] : 1;
    }
}

inline double dot(const double* a, const double* b, std::size_t width) noexcept {
    double sum = 0;
    for (std::size_t k = 0; k < width; ++k) sum += a[k] * b[k];
    return sum;
}

inline void check_gamma(double gamma, const char* function) {
    check_option(gamma > 0 && gamma <= 300, function, "gamma", "in (0, 300]", gamma);
}
/// Errors: shape_error unless x is [rows, width] with a width of at least 2.
template <class T>
void check_features(std::span<T> x, std::size_t width, const char* function, const char* argument) {
    if (width < 2) [[unlikely]]
        fail(error_kind::shape, function, "width", "at least 2 numbers a row", short_text(width));
    check_size(x.size(), x.size() / width * width, function, argument);
}

}  // namespace detail

/// How well features of samples rank among those of demonstrations: the reward of RankGAN's policy.
/// Formula: log R_i, R_i = mean over references u of K_iu / (K_iu + sum over references r other than u of K_ru),
///          K_iu = exp(gamma cos(feature_i, reference_u)).
/// Shapes:  feature [n, width]; reference [m, width], each demonstration once; log_score [n], overwritten.
/// Units:   nats, in [-2 gamma - log m, 0]; where all cosines are equal, -log m.
/// Degenerate: a row of zeros has the cosine 0 with everything; fewer than two references: 0, there is no one to rank
///          among.
/// Errors:  shape_error; option_error. No allocation once `work` has grown.
/// Source:  Lin et al. 2017, arXiv 1705.11001, equations 3 to 5; see rank_gan.
template <class T>
void rank_score(std::span<const T> feature, std::span<const T> reference, std::size_t width, double gamma,
                std::span<double> log_score, workspace& work) {
    detail::check_gamma(gamma, "rank_score");
    detail::check_features(feature, width, "rank_score", "feature");
    detail::check_features(reference, width, "rank_score", "reference");
    const std::size_t n = feature.size() / width, m = reference.size() / width;
    detail::check_size(log_score.size(), n, "rank_score", "log_score");
    std::vector<double>&unit = work.a, &other = work.b, &norm = work.c, &rivals = work.d;
    unit.resize(reference.size()), other.resize(feature.size()), norm.resize(n > m ? n : m), rivals.assign(m, 0.0);
    detail::unit_rows(reference, width, unit.data(), norm.data());
    detail::unit_rows(feature, width, other.data(), norm.data());
    const auto closeness = [&](const double* row, std::size_t u) {
        return std::exp(gamma * (detail::dot(row, unit.data() + u * width, width) - 1));
    };
    for (std::size_t u = 0; u < m; ++u)
        for (std::size_t r = 0; r < m; ++r)
            if (r != u) rivals[u] += closeness(unit.data() + r * width, u);
    for (std::size_t i = 0; i < n; ++i) {
        double sum = 0;
        for (std::size_t u = 0; u < m; ++u) {
            const double own = closeness(other.data() + i * width, u);
            sum += own / (own + rivals[u]);
        }
        log_score[i] = m < 2 ? 0 : std::log(sum / static_cast<double>(m));
    }
}

}  // namespace rlgaf::inline RLGAF_ABI
