#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
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
    REQUIRE(stats.ratio_max == 0);  // not measured
    REQUIRE(stats.kl_old == 0);
}

TEST_CASE("policy_gradient_loss measures the distance from old_log_prob where it is given, as ppo_clip does") {
    dice d(88);
    const policy_loss_traits both{.function = "policy_gradient_loss", .needs = {"old_log_prob", "advantage"}};
    for (int i = 0; i < 500; ++i) {
        policy_case c = random_policy_case(d, both);
        for (const layout how : layouts) {
            policy_arrays<double> arrays(c, how);
            ragged<double> gradient(zeros(c.log_prob), how, 0.0), other(zeros(c.log_prob), how, 0.0);
            const std::span<const double> weight(arrays.weight);
            const auto stats = policy_gradient_loss{}(arrays.terms(), weight, gradient.view());
            const auto clip = rlgaf::ppo_clip{}(arrays.terms(), weight, other.view());
            REQUIRE(same_bits(stats.ratio_max, clip.ratio_max));
            REQUIRE(same_bits(stats.kl_old, clip.kl_old));
        }
        const policy_result plain = run(policy_gradient_loss{}, c);
        if (i % 10 == 0) check_rows(policy_gradient_loss{}, c, d), check_storage(policy_gradient_loss{}, c, d);
        c.old_log_prob = {};  // it changes neither the loss nor the gradient
        const policy_result without = run(policy_gradient_loss{}, c);
        REQUIRE(same_bits(without.loss, plain.loss));
        REQUIRE(same_bits(without.gradient, plain.gradient));
    }
    policy_case c{.log_prob = {{-1, -2}}, .old_log_prob = {{-1}}, .advantage = {{1, 1}}, .weight = {1}};
    REQUIRE(message_of<rlgaf::shape_error>([&] { run(policy_gradient_loss{}, c); }) ==
            "rlgaf::policy_gradient_loss: terms.old_log_prob row 0: expected 2 tokens, got 1");
    check_no_allocation(policy_gradient_loss{}, both, d);
}

TEST_CASE("policy_gradient_loss has no clip: a log-prob of -200 pushes as hard as one of -1") {
    REQUIRE(run_token(policy_gradient_loss{}, -200, 0, 1.5).gradient[0][0] == -1.5);
    REQUIRE(run_token(policy_gradient_loss{}, -1, 0, 1.5).gradient[0][0] == -1.5);
}
