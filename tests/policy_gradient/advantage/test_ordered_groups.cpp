#include "rlgaf/policy_gradient/advantage/ordered_groups.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;

TEST_CASE("ordered groups go from the worst row to the best, equal rewards in the order of their rows") {
    const std::vector<std::uint32_t> id = {2, 0, 2, 0, 2, 1, 2};
    rlgaf::workspace work;
    work.a = {3, 5, 1, 4, 3, not_a_number, 1};
    rlgaf::detail::group_tally tally;
    table seen;
    rlgaf::detail::for_each_ordered_group({id, 4}, work, tally,
                                          [&](std::span<const double> reward, std::span<double> advantage) {
                                              seen.emplace_back(reward.begin(), reward.end());
                                              for (std::size_t j = 0; j < reward.size(); ++j)
                                                  advantage[j] = static_cast<double>(10 * seen.size() + j);
                                          });
    REQUIRE(seen == table{{4, 5}, {1, 1, 3, 3}});
    REQUIRE(work.a == std::vector<double>{22, 11, 20, 10, 23, 0, 21});
    REQUIRE(tally.filled == 2);
    REQUIRE(tally.constant == 0);
}

TEST_CASE("a group is constant if its rewards are equal or if it teaches nothing") {
    const std::vector<std::uint32_t> id = {0, 0, 1, 1, 2, 2};
    rlgaf::workspace work;
    work.a = {0.3, 0.1 + 0.2, 1, 2, 3, 4};
    rlgaf::detail::group_tally tally;
    rlgaf::detail::for_each_ordered_group({id, 3}, work, tally, [&](std::span<const double> r, std::span<double> a) {
        if (r[0] != 1) a[0] = 5;
    });
    REQUIRE(tally.constant == 2);
    REQUIRE(rlgaf::detail::group_tally{}.share() == 0);
}
