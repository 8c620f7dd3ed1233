#pragma once
#include <span>
#include <vector>

#include "rlgaf/core/scalar.hpp"
#include "rlgaf/core/span_of.hpp"

/// Entropy-regularised optimal transport, for rewards that carry samples to demonstrations.
namespace rlgaf::inline RLGAF_ABI::detail {

/// to_j = -log mean_i exp(from_i - cost_ij): then the masses that arrive at j are right.
inline void set_prices(std::span<const double> from, std::span<double> to, const double* cost, std::size_t to_stride,
                       std::size_t from_stride) {
    for (std::size_t j = 0; j < to.size(); ++j, cost += to_stride) {
        double largest = -std::numeric_limits<double>::infinity(), total = 0;
        for (std::size_t i = 0; i < from.size(); ++i) largest = std::fmax(largest, from[i] - cost[i * from_stride]);
        for (std::size_t i = 0; i < from.size(); ++i) total += exponential(from[i] - cost[i * from_stride] - largest);
        to[j] = -largest - std::log(total / static_cast<double>(from.size()));
    }
}

/// Sinkhorn's iterations, in logarithms (Cuturi 2013, arXiv 1306.0895): from m equal masses to n equal masses.
/// Shapes:  cost [m, n], in units of epsilon; m, n > 0. paid [m]: sum_j P_ij cost_ij of a plan P whose total is m.
/// Needs:   m n (2 iterations + 1) exponentials. The m masses are exact, the n as near as the iterations bring them.
inline void carry(std::span<const double> cost, std::size_t m, std::size_t n, std::uint32_t iterations,
                  std::vector<double>& from_price, std::vector<double>& to_price, std::span<double> paid) {
    from_price.assign(m, 0.0);
    to_price.assign(n, 0.0);
    for (std::uint32_t k = 0; k < iterations; ++k) {
        set_prices(span_of(from_price), span_of(to_price), cost.data(), 1, n);
        set_prices(span_of(to_price), span_of(from_price), cost.data(), n, 1);
    }
    for (std::size_t i = 0; i < m; ++i) {
        double total = 0;
        for (std::size_t j = 0; j < n; ++j) {
            const double c = cost[i * n + j];
            total += c * exponential(from_price[i] + to_price[j] - c);
        }
        paid[i] = total / static_cast<double>(n);
    }
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
