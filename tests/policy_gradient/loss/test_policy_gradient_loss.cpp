#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::policy_gradient_loss;

namespace {
const policy_loss_traits traits{.function = "policy_gradient_loss", .needs = {"advantage"}};
}

TEST_CASE("policy_gradient_loss keeps the promises of a policy loss") {
    check_policy_loss(traits, [](dice&) { return policy_gradient_loss{}; });
}

TEST_CASE("policy_gradient_loss is -sum w f A log p, with gradient -w f A (Williams 1992)") {
    const policy_case c{.log_prob = {{-0.7, -2.4}, {-0.5}},
                        .advantage = {{1, -1}, {0.5}},
                        .token_factor = {{2, 1}, {0.5}},
                        .weight = {0.25, 2}};
    const policy_result r = run(policy_gradient_loss{}, c);
    REQUIRE(gap(r.loss, -(0.25 * (2 * -0.7 + 2.4) + 2 * 0.5 * 0.5 * -0.5)) < 1e-15);
    REQUIRE(gap(r.gradient, table{{-0.5, 0.25}, {-0.5}}) < 1e-15);

    policy_arrays<double> arrays(c, layout::padded);
    ragged<double> gradient(zeros(c.log_prob), layout::padded, 0.0);
    const auto stats = policy_gradient_loss{}(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
    REQUIRE(stats.tokens == 3);
    REQUIRE(stats.clipped_low + stats.clipped_high + stats.clipped_dual == 0);
    REQUIRE(stats.ratio_max == 1);
    REQUIRE(stats.kl_old == 0);
}

TEST_CASE("policy_gradient_loss has no clip: a log-prob of -200 pushes as hard as one of -1") {
    REQUIRE(run_token(policy_gradient_loss{}, -200, 0, 1.5).gradient[0][0] == -1.5);
    REQUIRE(run_token(policy_gradient_loss{}, -1, 0, 1.5).gradient[0][0] == -1.5);
}
