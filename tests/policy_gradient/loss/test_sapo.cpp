#include "rlgaf/policy_gradient/loss/sapo.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::sapo;

namespace {
const policy_loss_traits traits{.function = "sapo", .needs = {"old_log_prob", "advantage"}};

sapo random_options(dice& d) { return {.tau_positive = d.uniform(0.2, 5), .tau_negative = d.uniform(0.2, 5)}; }

struct value_and_slope {
    double value, slope;
};
/// The gate, with hyperbolic functions in place of the sigmoid, and its derivative by the log-ratio.
value_and_slope gate(double tau, double log_ratio) {
    const double ratio = std::exp(std::fmin(std::fmax(log_ratio, -20), 20)), x = tau * (ratio - 1) / 2;
    const double sech = 1 / std::cosh(std::fmin(x, 700));
    return {2 / tau * (1 + std::tanh(x)), std::abs(log_ratio) > 20 ? 0 : ratio * sech * sech};
}
}  // namespace

TEST_CASE("sapo keeps the promises of a policy loss") {
    check_policy_loss(traits, random_options, [](const sapo&, const policy_case& c, std::size_t b, std::size_t t) {
        return gap(std::abs(c.log_prob[b][t] - c.old_log_prob[b][t]), 20) < 1e-4;
    });
}

TEST_CASE("sapo on three tokens: the formula sheet's golden vectors") {
    const policy_case c{
        .log_prob = {{-0.7, -2.4, -0.5}}, .old_log_prob = {{-1, -2, -0.5}}, .advantage = {{1, -1, 0.5}}, .weight = {1}};
    const policy_result r = run(sapo{}, c);
    REQUIRE(gap(r.loss, -2.346333 + 1.578335 - 1) < 2e-6);
    REQUIRE(gap(r.gradient, table{{-1.309381, 0.650633, -0.5}}) < 1e-6);
}

TEST_CASE("sapo is -A times the gate, with slope r sech^2(tau (r - 1) / 2)") {
    dice d(20347);
    for (int i = 0; i < 2000; ++i) {
        const sapo o = random_options(d);
        const policy_case c = random_policy_case(d, traits);
        double loss = 0, size = 1;
        const table expected = table_like(c.log_prob, [&](auto b, auto t) {
            if (!included(c.mask, b, t)) return 0.0;
            const double a = c.advantage[b][t], factor = c.token_factor.empty() ? 1 : c.token_factor[b][t];
            const auto g = gate(a > 0 ? o.tau_positive : o.tau_negative, c.log_prob[b][t] - c.old_log_prob[b][t]);
            loss -= c.weight[b] * factor * a * g.value;
            size += std::abs(c.weight[b] * factor * a * g.value);
            return -c.weight[b] * factor * a * g.slope;
        });
        const policy_result r = run(o, c);
        REQUIRE(gap(r.loss, loss) < 1e-12 * size);
        for (std::size_t b = 0; b < expected.size(); ++b) REQUIRE(gap(r.gradient[b], expected[b]) < 1e-12);
    }
}

TEST_CASE("sapo weighs a token by 1 at ratio 1, most a little further out, and forgets it far away (tau = 1)") {
    REQUIRE(run_token(sapo{}, -1, -1, 3).gradient[0][0] == -3);
    REQUIRE(run_token(sapo{}, -1, -1, -3).gradient[0][0] == 3);
    REQUIRE(run_token(sapo{}, -1, -1, 3).loss == -6);  // offset by -A (2 / tau - 1)
    double most = 0, at = 0;
    for (double ratio = 0.01; ratio < 10; ratio += 0.01) {
        const double weight = -run_token(sapo{}, std::log(ratio), 0, 1).gradient[0][0];
        if (weight > most) most = weight, at = ratio;
    }
    REQUIRE(gap(most, 1.575) < 1e-3);
    REQUIRE(gap(at, 2.06) < 0.011);
    REQUIRE(std::abs(run_token(sapo{}, std::log(50), 0, 1).gradient[0][0]) < 1e-18);
}

TEST_CASE("trap 1: sapo stays finite at log-ratios of 200 and at any temperature") {
    for (const double tau : {1e-3, 1.0, 1e3}) {
        const sapo o{.tau_positive = tau, .tau_negative = tau};
        for (const double d : {-1e4, -200.0, -21.0, -20.0, -5.0, -0.1, 0.0, 0.1, 5.0, 20.0, 21.0, 200.0, 1e4})
            for (const double a : {1.0, -1.0}) {
                const policy_case c{.log_prob = {{d}}, .old_log_prob = {{0}}, .advantage = {{a}}, .weight = {1}};
                const auto g = gate(tau, d);
                const policy_result wide = run(o, c), narrow = run<float>(o, c);
                REQUIRE(gap(wide.loss, -a * g.value) < 1e-12 * (1 + g.value));
                REQUIRE(gap(wide.gradient[0][0], -a * g.slope) < 1e-10 * (1 + g.slope));
                REQUIRE(gap(narrow.loss, wide.loss) < 1e-3 * (1 + g.value));
                REQUIRE(std::isfinite(narrow.gradient[0][0]));
                if (std::abs(d) > 20) REQUIRE(wide.gradient[0][0] == 0);
            }
    }
}

TEST_CASE("trap 31: sapo takes tau_negative at advantage 0, where it learns nothing") {
    const sapo o{.tau_positive = 1, .tau_negative = 3};
    for (const double d : {-1.0, 0.0, 1.0}) {
        REQUIRE(run_token(o, d, 0, 0).loss == 0);
        REQUIRE(run_token(o, d, 0, 0).gradient[0][0] == 0);
    }
    // Next to 0 the side shows.
    const double tiny = 1e-300;
    REQUIRE(gap(run_token(o, 1, 0, tiny).gradient[0][0] / tiny, -gate(1, 1).slope) < 1e-12);
    REQUIRE(gap(run_token(o, 1, 0, -tiny).gradient[0][0] / tiny, gate(3, 1).slope) < 1e-12);
}

TEST_CASE("sapo lets NaN show in what is not masked") {
    REQUIRE(std::isnan(run_token(sapo{}, not_a_number, -1, 1).loss));
    REQUIRE(std::isnan(run_token(sapo{}, not_a_number, -1, 1).gradient[0][0]));
}

TEST_CASE("sapo refuses options out of range by name") {
    for (const double x : {-1.0, 0.0, 1001.0, infinity, not_a_number}) {
        REQUIRE(refuses(sapo{.tau_positive = x}, "sapo", "tau_positive"));
        REQUIRE(refuses(sapo{.tau_negative = x}, "sapo", "tau_negative"));
    }
    REQUIRE_NOTHROW(sapo{}.check());
    REQUIRE_THROWS_AS(run_token(sapo{.tau_negative = 0}, 0, 0, 1), rlgaf::option_error);
}
