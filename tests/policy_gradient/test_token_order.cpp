#include <algorithm>

#include "rlgaf/policy_gradient/token_order.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;

namespace {
/// Whether each number is one of the largest, from a stable sort.
std::vector<bool> sorted_choice(const std::vector<double>& x, std::size_t count) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < x.size(); ++i)
        if (!std::isnan(x[i])) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return x[i] > x[j]; });
    std::vector<bool> chosen(x.size());
    for (std::size_t i = 0; i < count && i < order.size(); ++i) chosen[order[i]] = true;
    return chosen;
}
std::vector<bool> choice(const std::vector<double>& x, std::size_t count, std::vector<double>& scratch) {
    auto top = rlgaf::detail::largest_numbers(x, count, scratch);
    std::vector<bool> chosen(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        const bool tie = x[i] == top.value && top.ties > 0;
        top.ties -= tie;
        chosen[i] = x[i] > top.value || tie;
    }
    REQUIRE(top.ties == 0);
    return chosen;
}
}  // namespace

TEST_CASE("largest_numbers picks what a stable sort would, with ties, infinities and NaN, in any order") {
    dice d(32);
    std::vector<double> scratch{1, 2, 3};
    for (int i = 0; i < 4000; ++i) {
        std::vector<double> x(d.below(i % 100 == 0 ? 3000 : 40));
        const double kinds = d.chance(0.5) ? 4 : 1e9;
        for (double& v : x) {
            v = std::floor(d.uniform(-kinds, kinds));
            if (d.chance(0.05)) v = d.chance(0.5) ? infinity : -infinity;
            if (d.chance(0.05)) v = not_a_number;
        }
        if (i % 3 == 1) std::sort(x.begin(), x.end(), [](double a, double b) { return a < b && !std::isnan(b); });
        if (i % 3 == 2) std::reverse(x.begin(), x.end());
        const std::size_t count = d.below(x.size() + 1);
        REQUIRE(choice(x, count, scratch) == sorted_choice(x, count));
    }
    REQUIRE(choice({}, 0, scratch).empty());
    REQUIRE(choice(std::vector<double>(9, not_a_number), 4, scratch) == std::vector<bool>(9, false));
    REQUIRE(choice(std::vector<double>(9, -infinity), 9, scratch) == std::vector<bool>(9, true));
}

TEST_CASE("largest_numbers keeps at most 2 count + 1 numbers") {
    std::vector<double> rising(10000), scratch;
    for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<double>(i);
    rlgaf::detail::largest_numbers(rising, 50, scratch);
    REQUIRE(scratch.capacity() <= 128);  // the power of two above
}

TEST_CASE("picked_count rounds down, but a fraction that is not 0 picks at least one of any") {
    using rlgaf::detail::picked_count;
    REQUIRE(picked_count(2e-4, 10000) == 2);
    REQUIRE(picked_count(2e-4, 14999) == 2);
    REQUIRE(picked_count(2e-4, 15000) == 3);
    REQUIRE(picked_count(2e-4, 10) == 1);
    REQUIRE(picked_count(1, 10) == 10);
    REQUIRE(picked_count(0.999, 10) == 9);
    REQUIRE(picked_count(0, 10) == 0);
    REQUIRE(picked_count(0.5, 0) == 0);
}
