#pragma once
/// The plain form of Sinkhorn's iterations, without logarithms.
#include <cmath>
#include <vector>

namespace rlgaf_test {

/// -m sum_j P_ij C_ij for the m vectors of x: K = exp(-C / epsilon), scale rows and columns in turn.
inline std::vector<double> plain_sinkhorn(const std::vector<double>& x, const std::vector<double>& e, std::size_t width,
                                          double epsilon, int iterations) {
    const std::size_t m = x.size() / width, n = e.size() / width;
    const auto cost = [&](std::size_t i, std::size_t j) {
        double dot = 0, a = 0, b = 0;
        for (std::size_t k = 0; k < width; ++k) {
            dot += x[i * width + k] * e[j * width + k];
            a += x[i * width + k] * x[i * width + k];
            b += e[j * width + k] * e[j * width + k];
        }
        return 1 - dot / std::sqrt(a * b);
    };
    const auto kernel = [&](std::size_t i, std::size_t j) { return std::exp(-cost(i, j) / epsilon); };
    std::vector<double> u(m, 1.0), v(n, 1.0), r(m);
    for (int t = 0; t < iterations; ++t) {
        for (std::size_t j = 0; j < n; ++j) {
            double total = 0;
            for (std::size_t i = 0; i < m; ++i) total += u[i] * kernel(i, j);
            v[j] = 1 / (static_cast<double>(n) * total);
        }
        for (std::size_t i = 0; i < m; ++i) {
            double total = 0;
            for (std::size_t j = 0; j < n; ++j) total += v[j] * kernel(i, j);
            u[i] = 1 / (static_cast<double>(m) * total);
        }
    }
    for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < n; ++j) r[i] -= static_cast<double>(m) * u[i] * kernel(i, j) * v[j] * cost(i, j);
    return r;
}

}  // namespace rlgaf_test
