#include "rlgaf/policy_gradient/kl.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::kl_estimator;
using rlgaf::kl_loss;

namespace {
const policy_loss_traits traits{.function = "kl_loss", .needs = {"reference_log_prob"}, .factor = false};

kl_loss random_options(dice& d) {
    return {.beta = d.chance(0.1) ? 0 : d.uniform(0, 2), .estimator = static_cast<kl_estimator>(d.below(3))};
}
}  // namespace

TEST_CASE("kl_loss keeps the promises of a policy loss") { check_policy_loss(traits, random_options); }

TEST_CASE("token_factor never multiplies the KL term") {
    check_ignores_factor(kl_loss{.beta = 0.3}, traits);
    check_ignores_factor(kl_loss{.beta = 0.3, .estimator = kl_estimator::k3}, traits);
}

TEST_CASE("kl_loss on three tokens: the formula sheet's golden vectors") {
    const policy_case c{.log_prob = {{-0.7, -2.4, -0.5}}, .reference_log_prob = {{-1.2, -1.9, -0.4}}, .weight = {0.5}};
    policy_result r = run(kl_loss{.beta = 2, .estimator = kl_estimator::k2}, c);
    REQUIRE(gap(r.loss, 0.125 + 0.125 + 0.005) < 1e-12);
    REQUIRE(gap(r.gradient, table{{0.5, -0.5, -0.1}}) < 1e-12);
    r = run(kl_loss{.beta = 2, .estimator = kl_estimator::k3}, c);
    REQUIRE(gap(r.loss, 0.106531 + 0.148721 + 0.005171) < 1e-6);
    REQUIRE(gap(r.gradient, table{{0.393469, -0.648721, -0.105171}}) < 1e-6);

    r = run(kl_loss{.beta = 2, .estimator = kl_estimator::k1}, c);
    REQUIRE(gap(r.loss, 0.5 - 0.5 - 0.1) < 1e-12);
    REQUIRE(gap(r.gradient, table{{1, 1, 1}}) < 1e-12);

    policy_arrays<double> arrays(c, layout::padded);
    ragged<double> gradient(zeros(c.log_prob), layout::padded, 0.0);
    const auto stats = kl_loss{.beta = 2, .estimator = kl_estimator::k2}(
        arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
    REQUIRE(gap(stats.value, 0.125 + 0.125 + 0.005) < 1e-12);  // without beta and weight
    REQUIRE(stats.tokens == 3);
}

TEST_CASE("kl_loss at log-ratios of 20 and of 200") {
    const kl_loss k2{.beta = 1, .estimator = kl_estimator::k2}, k3{.beta = 1, .estimator = kl_estimator::k3};
    const double largest = std::exp(20.0) - 21;
    REQUIRE(gap(run_token(k3, -20, 0, 0, 0).loss, largest) < 1e-12 * largest);
    REQUIRE(gap(run_token(k3, -20, 0, 0, 0).gradient[0][0], 1 - std::exp(20.0)) < 1e-12 * largest);
    for (const double far : {20.001, 200.0, 1e4}) {
        REQUIRE(gap(run_token(k3, -far, 0, 0, 0).loss, largest) < 1e-12 * largest);  // u above 20: constant
        REQUIRE(run_token(k3, -far, 0, 0, 0).gradient[0][0] == 0);
        const double u = -far;  // the policy is surer than the reference: linear
        REQUIRE(gap(run_token(k3, 0, 0, 0, u).loss, far - 1) < 1e-6);
        REQUIRE(gap(run_token(k3, 0, 0, 0, u).gradient[0][0], 1) < 1e-6);
        REQUIRE(run_token(k2, -far, 0, 0, 0).loss == far * far / 2);
        REQUIRE(run_token(k2, -far, 0, 0, 0).gradient[0][0] == -far);
    }
}

TEST_CASE("kl_loss refuses options out of range by name") {
    for (const double x : {-0.1, -infinity, not_a_number}) REQUIRE(refuses(kl_loss{.beta = x}, "kl_loss", "beta"));
    REQUIRE_NOTHROW(kl_loss{.beta = 0, .estimator = kl_estimator::k3}.check());
    REQUIRE_THROWS_AS(run_token(kl_loss{.beta = -1}, 0, 0, 0), rlgaf::option_error);
}
