#include "rlgaf/policy_gradient/entropy.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::adaptive_entropy;
using rlgaf::entropy_bonus;

namespace {
const policy_loss_traits traits{.function = "entropy_bonus", .needs = {"entropy"}, .by_entropy = true, .factor = false};
}

TEST_CASE("entropy_bonus keeps the promises of a policy loss") {
    check_policy_loss(traits, [](dice& d) { return entropy_bonus{.coefficient = d.uniform(0, 2)}; });
}

TEST_CASE("token_factor never multiplies the entropy term") {
    check_ignores_factor(entropy_bonus{.coefficient = 0.3}, traits);
}

TEST_CASE("entropy_bonus is -c sum w H, with gradient -c w (Mnih et al. 2016)") {
    const policy_case c{
        .log_prob = {{-1, -1}, {-1}}, .entropy = {{0.5, 2}, {1.5}}, .mask = {{1, 0}, {1}}, .weight = {0.5, 2}};
    const policy_result r = run(entropy_bonus{.coefficient = 0.1}, c);
    REQUIRE(gap(r.loss, -0.1 * (0.5 * 0.5 + 2 * 1.5)) < 1e-15);
    REQUIRE(gap(r.gradient, table{{-0.05, 0}, {-0.2}}) < 1e-15);

    policy_arrays<double> arrays(c, layout::padded);
    ragged<double> gradient(zeros(c.log_prob), layout::padded, 0.0);
    const auto stats =
        entropy_bonus{.coefficient = 0.1}(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
    REQUIRE(gap(stats.value, 2) < 1e-15);
    REQUIRE(stats.tokens == 2);
}

TEST_CASE("entropy_bonus refuses a coefficient out of range by name") {
    for (const double x : {-0.1, infinity, -infinity, not_a_number})
        REQUIRE(refuses(entropy_bonus{.coefficient = x}, "entropy_bonus", "coefficient"));
    REQUIRE_NOTHROW(entropy_bonus{.coefficient = 0}.check());
    REQUIRE_THROWS_AS(run_token(entropy_bonus{.coefficient = -1}, 0, 0, 0), rlgaf::option_error);
}

TEST_CASE("adaptive_entropy raises the coefficient while the entropy is low and switches it off above (Skywork-OR1)") {
    const adaptive_entropy controller{.initial = 0.01, .target = 0.2, .delta = 0.005};
    adaptive_entropy::state state;
    REQUIRE(gap(controller(state, 0.1), 0.015) < 1e-15);
    REQUIRE(gap(controller(state, 0.2), 0.02) < 1e-15);  // the target itself counts as low
    REQUIRE(controller(state, 0.3) == 0);                // off, but it remembers
    REQUIRE(gap(state.coefficient, 0.015) < 1e-15);
    REQUIRE(gap(controller(state, 0.1), 0.02) < 1e-15);
    REQUIRE(state.steps == 4);
}

TEST_CASE("adaptive_entropy agrees with its definition on random runs and stays within its bounds") {
    dice d(2505);
    for (int run = 0; run < 300; ++run) {
        adaptive_entropy o{.target = d.uniform(0, 1), .delta = d.uniform(0.001, 0.5)};
        o.lowest = d.chance(0.5) ? 0 : d.uniform(0, 0.3);
        o.highest = o.lowest + d.uniform(0, 1);
        o.initial = o.lowest + d.uniform(0, 1) * (o.highest - o.lowest);
        adaptive_entropy::state state;
        double c = o.initial;
        for (int k = 0; k < 30; ++k) {
            const double h = d.chance(0.05) ? infinity : d.uniform(0, 1);
            c += h <= o.target ? o.delta : -o.delta;
            c = c < o.lowest ? o.lowest : c > o.highest ? o.highest : c;
            REQUIRE(o(state, h) == (h <= o.target ? c : 0));
            REQUIRE(state.coefficient == c);
        }
    }
}

TEST_CASE("adaptive_entropy goes on after a checkpoint, and its state is visited by name") {
    const adaptive_entropy controller{.initial = 0.3};
    adaptive_entropy::state state;
    controller(state, 0.1);
    controller(state, 5);
    adaptive_entropy::state copy;
    std::vector<double> numbers;
    std::vector<std::uint64_t> counts;
    struct {
        std::vector<double>& numbers;
        std::vector<std::uint64_t>& counts;
        void operator()(std::string_view name, double& x) {
            REQUIRE(name == "coefficient");
            numbers.push_back(x);
        }
        void operator()(std::string_view name, std::uint64_t& x) {
            REQUIRE(name == "steps");
            counts.push_back(x);
        }
    } archive{numbers, counts};
    state.visit(archive);
    REQUIRE(numbers.size() == 1);
    REQUIRE(counts.size() == 1);
    copy.coefficient = numbers[0], copy.steps = counts[0];
    REQUIRE(controller(copy, 0.1) == controller(state, 0.1));
}

TEST_CASE("adaptive_entropy refuses options out of range, and an entropy that is not a number") {
    for (const double x : {-0.1, not_a_number}) {
        REQUIRE(refuses(adaptive_entropy{.initial = x}, "adaptive_entropy", "initial"));
        REQUIRE(refuses(adaptive_entropy{.target = x}, "adaptive_entropy", "target"));
        REQUIRE(refuses(adaptive_entropy{.lowest = x}, "adaptive_entropy", "lowest"));
        REQUIRE(refuses(adaptive_entropy{.highest = x}, "adaptive_entropy", "highest"));
    }
    REQUIRE(refuses(adaptive_entropy{.initial = 2}, "adaptive_entropy", "initial"));
    REQUIRE(refuses(adaptive_entropy{.initial = infinity, .highest = infinity}, "adaptive_entropy", "initial"));
    for (const double x : {0.0, -0.1, infinity, not_a_number})
        REQUIRE(refuses(adaptive_entropy{.delta = x}, "adaptive_entropy", "delta"));
    adaptive_entropy::state state;
    REQUIRE(message_of<rlgaf::numeric_error>([&] { adaptive_entropy{}(state, not_a_number); }) ==
            "rlgaf::adaptive_entropy: mean_entropy: expected a number, got nan");
    REQUIRE(state.steps == 0);
    REQUIRE_THROWS_AS(adaptive_entropy{.delta = 0}(state, 1), rlgaf::option_error);
}
