#include "rlgaf/policy_gradient/entropy.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
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
    for (const double x : {-0.1, -infinity, not_a_number})
        REQUIRE(refuses(entropy_bonus{.coefficient = x}, "entropy_bonus", "coefficient"));
    REQUIRE_NOTHROW(entropy_bonus{.coefficient = 0}.check());
    REQUIRE_THROWS_AS(run_token(entropy_bonus{.coefficient = -1}, 0, 0, 0), rlgaf::option_error);
}
