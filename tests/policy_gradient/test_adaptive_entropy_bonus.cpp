#include "rlgaf/policy_gradient/adaptive_entropy_bonus.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::adaptive_entropy_bonus;

namespace {
struct seen_fields {
    std::vector<std::string> names;
    template <class X>
    void operator()(const char* name, X&) {
        names.emplace_back(name);
    }
};
}  // namespace

TEST_CASE("adaptive_entropy_bonus: nothing before the first step, then the controller's coefficient") {
    const adaptive_entropy_bonus bonus{.controller = {.initial = 0.5, .target = 1, .delta = 0.1}};
    adaptive_entropy_bonus::state state;
    const std::vector<double> log_prob{-1, -2, -3}, entropy{0.5, 0.25, 0.125}, weight{0.5, 2};
    const std::vector<std::size_t> offsets{0, 2, 3};
    const auto view = [&](const std::vector<double>& x) {
        return rlgaf::ragged_view<const double>::packed(x.data(), offsets);
    };
    const auto run = [&] {
        std::vector<double> d(3, 1.0);
        const auto stats = bonus(state, {.log_prob = view(log_prob), .entropy = view(entropy)}, weight,
                                 rlgaf::ragged_view<double>::packed(d.data(), offsets));
        REQUIRE(stats.tokens == 3);
        REQUIRE(stats.value == Approx(0.875));
        REQUIRE(stats.loss == Approx(-state.coefficient * (0.5 * 0.75 + 2 * 0.125)).margin(1e-15));
        return d;
    };
    REQUIRE(run() == std::vector<double>(3, 1.0));
    bonus.after_step(state, 0.9);  // at or below the target: 0.5 + 0.1
    REQUIRE(state.coefficient == Approx(0.6));
    REQUIRE(gap(run(), std::vector<double>{1 - 0.3, 1 - 0.3, 1 - 1.2}) < 1e-12);
    bonus.after_step(state, 1.1);  // above: c falls, and nothing is paid
    REQUIRE(state.coefficient == 0);
    REQUIRE(run() == std::vector<double>(3, 1.0));
    bonus.after_step(state, 1);
    REQUIRE(state.coefficient == Approx(0.6));
    REQUIRE_THROWS_AS(bonus.after_step(state, not_a_number), rlgaf::numeric_error);

    seen_fields fields;
    state.visit(fields);
    REQUIRE(fields.names == std::vector<std::string>{"coefficient", "steps", "next_coefficient"});
    REQUIRE(message_of<rlgaf::option_error>([] {
                adaptive_entropy_bonus{.controller = {.delta = not_a_number}}.check();
            }).find("adaptive_entropy: .delta") != std::string::npos);
}
