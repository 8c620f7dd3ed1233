#include "rlgaf/math/categorical.hpp"
#include "rlgaf/policy_gradient/kl.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::kl_estimator;
using rlgaf::kl_loss;

namespace {
const policy_loss_traits traits{.function = "kl_loss", .needs = {"reference_log_prob"}, .factor = false};

const policy_loss_traits weighted_traits{
    .function = "kl_loss", .needs = {"old_log_prob", "reference_log_prob"}, .factor = false};

/// Those whose gradient is that of their value.
kl_loss random_options(dice& d) {
    constexpr kl_estimator all[] = {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3, kl_estimator::abs};
    return {.beta = d.chance(0.1) ? 0 : d.uniform(0, 2), .estimator = all[d.below(4)]};
}
}  // namespace

TEST_CASE("kl_loss keeps the promises of a policy loss") {
    check_policy_loss(traits, random_options, [](const kl_loss& o, const policy_case& c, std::size_t b, std::size_t t) {
        return o.estimator == kl_estimator::abs && gap(c.log_prob[b][t], c.reference_log_prob[b][t]) < 1e-4;
    });
}

TEST_CASE("Importance-weighted kl_loss keeps the promises of a policy loss") {
    check_policy_loss(weighted_traits, [](dice& d) {
        return kl_loss{.beta = d.uniform(0, 2), .estimator = kl_estimator::k3, .importance_weighted = true};
    });
}

TEST_CASE("kl_loss with k1_plus and k3_plus: the value of k1 and k3, the gradient of k2") {
    dice d(23);
    for (int i = 0; i < 500; ++i) {
        const policy_case c = random_policy_case(d, traits);
        const double beta = d.uniform(0, 2);
        const table slope = run(kl_loss{.beta = beta, .estimator = kl_estimator::k2}, c).gradient;
        for (const auto& [plus, plain] :
             {std::pair{kl_estimator::k1_plus, kl_estimator::k1}, std::pair{kl_estimator::k3_plus, kl_estimator::k3}}) {
            const kl_loss loss{.beta = beta, .estimator = plus};
            REQUIRE(same_bits(run(loss, c).loss, run(kl_loss{.beta = beta, .estimator = plain}, c).loss));
            REQUIRE(same_bits(run(loss, c).gradient, slope));
            if (i % 10 == 0) check_storage(loss, c, d), check_rows(loss, c, d);
        }
    }
}

TEST_CASE("Importance-weighted k3 on three tokens: r (exp(u) - 1 - u) with gradient r (log_prob - reference)") {
    const policy_case c{.log_prob = {{-0.7, -2.4, -0.5}},
                        .old_log_prob = {{-1, -2, -0.5}},
                        .reference_log_prob = {{-1.2, -1.9, -0.4}},
                        .weight = {1}};
    const kl_loss loss{.beta = 1, .estimator = kl_estimator::k3, .importance_weighted = true};
    const policy_result r = run(loss, c);  // r and k3 of the sheet's golden vectors
    REQUIRE(gap(r.loss, 1.349859 * 0.106531 + 0.670320 * 0.148721 + 0.005171) < 1e-5);
    REQUIRE(gap(r.gradient, table{{1.349859 * 0.5, 0.670320 * -0.5, -0.1}}) < 1e-6);

    policy_case on_policy = c;
    on_policy.old_log_prob = c.log_prob;
    REQUIRE(gap(run(loss, on_policy).gradient,
                run(kl_loss{.beta = 1, .estimator = kl_estimator::k2}, on_policy).gradient) < 1e-15);
}

TEST_CASE("Importance-weighted k3 under samples of another policy has the exact KL and its gradient in expectation") {
    dice d(2512);
    for (int i = 0; i < 200; ++i) {
        const std::size_t size = 2 + d.below(5);
        std::vector<double> p(size), q(size), mu(size);
        for (auto* x : {&p, &q, &mu}) {
            for (double& v : *x) v = d.normal();
            rlgaf::log_softmax(std::span<const double>(*x), 1.0, std::span<double>(*x));
        }
        policy_case c{.log_prob = {p}, .old_log_prob = {mu}, .reference_log_prob = {q}, .weight = {1}};
        const kl_loss loss{.beta = 1, .estimator = kl_estimator::k3, .importance_weighted = true};
        const table g = run(loss, c).gradient;
        const double kl = rlgaf::kl_divergence(std::span<const double>(p), std::span<const double>(q));
        double mean = 0;
        std::vector<double> gradient(size);
        for (std::size_t a = 0; a < size; ++a) {
            const policy_case one{
                .log_prob = {{p[a]}}, .old_log_prob = {{mu[a]}}, .reference_log_prob = {{q[a]}}, .weight = {1}};
            mean += std::exp(mu[a]) * run(loss, one).loss;
            for (std::size_t v = 0; v < size; ++v)
                gradient[v] += std::exp(mu[a]) * g[0][a] * ((v == a) - std::exp(p[v]));
        }
        REQUIRE(gap(mean, kl) < 1e-13);
        for (std::size_t v = 0; v < size; ++v) REQUIRE(gap(gradient[v], std::exp(p[v]) * (p[v] - q[v] - kl)) < 1e-13);
    }
}

TEST_CASE("Importance-weighted k3 at log-ratios of 20 and of 200") {
    const kl_loss loss{.beta = 1, .estimator = kl_estimator::k3, .importance_weighted = true};
    const double e20 = std::exp(20.0);
    // To the old policy: held at 20, and without a gradient outside.
    REQUIRE(gap(run_token(loss, 0, -20, 0, -1).gradient[0][0], e20) < 1e-12 * e20);
    for (const double far : {20.001, 200.0, 1e4}) {
        REQUIRE(gap(run_token(loss, 0, -far, 0, -1).loss, e20 * std::exp(-1.0)) < 1e-12 * e20);
        REQUIRE(run_token(loss, 0, -far, 0, -1).gradient[0][0] == 0);
        REQUIRE(gap(run_token(loss, 0, far, 0, -1).loss, std::exp(-21.0)) < 1e-20);
        REQUIRE(run_token(loss, 0, far, 0, -1).gradient[0][0] == 0);
        // To the reference: the value is held, the gradient still pulls towards it.
        REQUIRE(gap(run_token(loss, -far, -far, 0, 0).loss, e20 - 21) < 1e-12 * e20);
        REQUIRE(run_token(loss, -far, -far, 0, 0).gradient[0][0] == -far);
    }
}

TEST_CASE("Trap: the gradient of k1 as a loss is the same push on every token, whatever the reference") {
    const kl_loss loss{.beta = 1, .estimator = kl_estimator::k1};
    for (const double reference : {-5.0, -1.0, 0.0}) REQUIRE(run_token(loss, -1, 0, 0, reference).gradient[0][0] == 1);
}

TEST_CASE("token_factor never multiplies the KL term") {
    check_ignores_factor(kl_loss{.beta = 0.3}, traits);
    check_ignores_factor(kl_loss{.beta = 0.3, .estimator = kl_estimator::k3}, traits);
    check_ignores_factor(kl_loss{.beta = 0.3, .estimator = kl_estimator::k3, .importance_weighted = true},
                         weighted_traits);
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
    for (const double x : {-0.1, infinity, -infinity, not_a_number})
        REQUIRE(refuses(kl_loss{.beta = x}, "kl_loss", "beta"));
    for (const kl_estimator k :
         {kl_estimator::k1, kl_estimator::k2, kl_estimator::abs, kl_estimator::k1_plus, kl_estimator::k3_plus})
        REQUIRE(refuses(kl_loss{.estimator = k, .importance_weighted = true}, "kl_loss", "importance_weighted"));
    REQUIRE_NOTHROW(kl_loss{.estimator = kl_estimator::k3, .importance_weighted = true}.check());
    REQUIRE_NOTHROW(kl_loss{.beta = 0, .estimator = kl_estimator::k3}.check());
    REQUIRE_THROWS_AS(run_token(kl_loss{.beta = -1}, 0, 0, 0), rlgaf::option_error);
}
