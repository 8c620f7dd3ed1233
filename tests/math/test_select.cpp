#include <algorithm>

#include "rlgaf/math/select.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;

TEST_CASE("kth_smallest is the k-th of the sorted numbers, with and without ties") {
    dice d(77);
    for (int i = 0; i < 5000; ++i) {
        std::vector<double> x(1 + d.below(40));
        const bool ties = d.chance(0.5);
        for (double& v : x) v = ties ? static_cast<double>(d.below(4)) : d.normal();
        std::vector<double> sorted = x;
        std::sort(sorted.begin(), sorted.end());
        const std::size_t k = d.below(x.size());
        REQUIRE(rlgaf::kth_smallest(x, k) == sorted[k]);
        std::sort(x.begin(), x.end());
        REQUIRE(x == sorted);  // reordered, nothing lost
    }
    std::vector<double> ends = {infinity, -infinity, 0};
    REQUIRE(rlgaf::kth_smallest(ends, 0) == -infinity);
    REQUIRE(rlgaf::kth_smallest(ends, 2) == infinity);
}

TEST_CASE("kth_smallest of many sorted, reversed and equal numbers") {
    for (int kind = 0; kind < 3; ++kind) {
        std::vector<double> x(200000);
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = kind == 0 ? static_cast<double>(i) : kind == 1 ? -static_cast<double>(i) : 1.5;
        std::vector<double> sorted = x;
        std::sort(sorted.begin(), sorted.end());
        REQUIRE(rlgaf::kth_smallest(x, 100) == sorted[100]);
        REQUIRE(rlgaf::kth_smallest(x, 150000) == sorted[150000]);
    }
}
