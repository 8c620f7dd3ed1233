#include "rlgaf/math/rewards.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;

TEST_CASE("rewards collect outcomes and token rewards of a step and keep their memory") {
    rlgaf::rewards<float> r;
    const std::uint32_t lengths[] = {2, 0, 3};
    const auto fill = [&] {
        r.begin(lengths);
        r.add_outcome("a")[0] = 5;
        r.add_outcome("b")[0] = not_a_number;
        r.token().row(2)[1] = 7;
        r.bootstrap()[2] = 4;
        (void)r.view();
    };
    fill();
    REQUIRE(allocations_of(fill) == 0);
    REQUIRE(r.rows() == 3);
    REQUIRE(r.outcomes() == 2);
    REQUIRE(r.name(1) == "b");
    REQUIRE(r.outcome(0)[0] == 5);
    REQUIRE(r.outcome(0)[1] == 0);
    rlgaf::reward_view<float> view = r.view();
    REQUIRE(view.outcome.size() == 2);
    REQUIRE(view.outcome[0].name == "a");
    REQUIRE(view.outcome[0].value.size() == 3);
    REQUIRE(std::isnan(view.outcome[1].value[0]));
    REQUIRE(view.token.rows() == 3);
    REQUIRE(view.token.row(2)[1] == 7);
    REQUIRE(r.token().row(2)[1] == 7);  // asked for again: kept
    REQUIRE(view.bootstrap.size() == 3);
    REQUIRE(view.bootstrap[0] == 0);
    REQUIRE(view.bootstrap[2] == 4);
    REQUIRE(r.bootstrap()[2] == 4);

    r.begin(std::span<const std::uint32_t>(lengths).first(1));
    REQUIRE(r.outcomes() == 0);
    REQUIRE(r.rows() == 1);
    REQUIRE(r.view().token.empty());
    REQUIRE(r.view().bootstrap.empty());
    REQUIRE(r.bootstrap().size() == 1);
    REQUIRE(r.add_outcome("c")[0] == 0);
    REQUIRE(r.token().row(0)[1] == 0);
}

TEST_CASE("An outcome stays where it is while others are added") {
    rlgaf::rewards<double> r;
    const std::uint32_t lengths[] = {1, 1};
    r.begin(lengths);
    const std::span<double> first = r.add_outcome("first");
    for (int i = 0; i < 20; ++i) r.add_outcome("more");
    first[1] = 3;
    REQUIRE(r.outcome(0)[1] == 3);
}

TEST_CASE("reinforce sees the value after a truncated row") {
    rlgaf::rewards<double> r;
    const std::uint32_t lengths[] = {2, 1};
    r.begin(lengths);
    r.add_outcome("a")[0] = 1;
    r.bootstrap()[1] = 8;
    const std::uint32_t group[] = {0, 0};
    rlgaf::ragged_buffer<double> advantage;
    advantage.assign(lengths);
    rlgaf::workspace work;
    rlgaf::reinforce::state state;
    rlgaf::reinforce{.baseline = rlgaf::reinforce_baseline::none, .discount = 0.5}(
        state, {.reward = r.view(), .group = {group, 1}}, work, advantage.view());
    REQUIRE(advantage.flat()[0] == 0.5);
    REQUIRE(advantage.flat()[1] == 1);
    REQUIRE(advantage.flat()[2] == 4);
}
