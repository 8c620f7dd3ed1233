#pragma once
/// Distances between numbers, finite differences, and seeded random cases.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "rlgaf/core/random.hpp"

namespace rlgaf_test {

inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// |a - b|, also for equal infinities; infinite if either is NaN.
inline double gap(double a, double b) {
    if (a == b) return 0;
    const double d = std::abs(a - b);
    return std::isnan(d) ? infinity : d;
}
/// Largest distance between elements; infinite if the sizes differ.
template <class A>
double gap(const std::vector<A>& a, const std::type_identity_t<std::vector<A>>& b) {
    if (a.size() != b.size()) return infinity;
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::fmax(worst, gap(a[i], b[i]));
    return worst;
}

inline bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }
template <class A>
bool same_bits(const std::vector<A>& a, const std::vector<A>& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (!same_bits(a[i], b[i])) return false;
    return true;
}

/// df/dx by central differences; x gets its value back.
template <class F>
double slope(F&& f, double& x, double step = 1e-5) {
    const double middle = x;
    x = middle + step;
    const double up = f();
    x = middle - step;
    const double down = f();
    x = middle;
    return (up - down) / (2 * step);
}

/// A seeded sequence of numbers.
class dice {
public:
    explicit dice(std::uint64_t seed) : random_({.seed = seed, .step = 0}, rlgaf::stream::user) {}

    double uniform(double low = 0, double high = 1) {
        const std::uint32_t n = drawn_++;
        return low + (high - low) * random_.uniform(n & 0xFFFFFFu, n >> 24);
    }
    double normal() {
        const std::uint32_t n = drawn_++;
        return random_.normal(n & 0xFFFFFFu, n >> 24);
    }
    std::size_t below(std::size_t count) {
        const std::uint32_t n = drawn_++;
        return random_.below(count, n & 0xFFFFFFu, n >> 24);
    }
    bool chance(double p) { return uniform() < p; }
    std::vector<std::size_t> permutation(std::size_t n) {
        std::vector<std::size_t> order(n);
        for (std::size_t i = 0; i < n; ++i) order[i] = i;
        for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[below(i)]);
        return order;
    }

private:
    rlgaf::random_stream random_;
    std::uint32_t drawn_ = 0;
};

/// first, first + 1, ...: sample ids of n rows.
inline std::vector<std::uint64_t> ids(std::size_t n, std::uint64_t first = 0) {
    std::vector<std::uint64_t> id(n);
    for (std::size_t i = 0; i < n; ++i) id[i] = first + i;
    return id;
}

}  // namespace rlgaf_test
