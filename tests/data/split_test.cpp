#include "rlgaf/data/split.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "support/catch.hpp"

using namespace rlgaf;

TEST_CASE("split: every element is on one side, the same at every call", "[data]") {
    std::vector<int> data(1000);
    std::iota(data.begin(), data.end(), 0);
    const auto parts = split(data, 100, {.seed = 7});
    REQUIRE(parts.train.size() == 900);
    REQUIRE(parts.held_out.size() == 100);
    std::vector<int> all = parts.train;
    all.insert(all.end(), parts.held_out.begin(), parts.held_out.end());
    REQUIRE_FALSE(std::is_sorted(all.begin(), all.end()));
    std::sort(all.begin(), all.end());
    REQUIRE(all == data);
    REQUIRE(split(data, 100, {.seed = 7}).held_out == parts.held_out);
    REQUIRE(split(data, 100, {.seed = 8}).held_out != parts.held_out);
    REQUIRE(split(data, 100, {.seed = 7, .step = 1}).held_out != parts.held_out);
}

TEST_CASE("split: shares and edges", "[data]") {
    const std::vector<std::string> words{"a", "b", "c", "d", "e"};
    REQUIRE(split_fraction(words, 0.3, {}).held_out.size() == 2);
    REQUIRE(split_fraction(words, 0, {}).held_out.empty());
    REQUIRE(split_fraction(words, 1, {}).train.empty());
    REQUIRE(split(std::vector<int>{}, 0, {}).train.empty());
    REQUIRE_THROWS_AS(split(words, 6, {}), option_error);
    REQUIRE_THROWS_AS(split_fraction(words, 1.1, {}), option_error);
    REQUIRE_THROWS_AS(split_fraction(words, std::numeric_limits<double>::quiet_NaN(), {}), option_error);
}
