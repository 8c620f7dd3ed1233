#include <algorithm>
#include <vector>

#include "rlgaf/math/sort.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;

TEST_CASE("heap_sort sorts, whatever the order and the number") {
    dice d(11);
    for (std::size_t n = 0; n < 200; ++n) {
        std::vector<double> key;
        for (std::size_t i = 0; i < n; ++i) key.push_back(static_cast<double>(d.below(1 + n / 3)));
        const auto less = [&](std::size_t i, std::size_t j) { return key[i] != key[j] ? key[i] < key[j] : i < j; };
        std::vector<std::size_t> x = d.permutation(n), y = x;
        rlgaf::detail::heap_sort(std::span(x), less);
        std::sort(y.begin(), y.end(), less);
        REQUIRE(x == y);
    }
}
