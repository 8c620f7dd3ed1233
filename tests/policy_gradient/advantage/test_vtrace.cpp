#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/advantage/vtrace.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::vtrace;

namespace {

/// The paper's equation 1, a sum of products of truncated ratios times temporal differences, forward from each token.
struct traced {
    table advantage, returns;
};
traced by_definition(const vtrace& o, const advantage_case& c, const extra_arrays& x) {
    table gain(c.shape.size()), target(c.shape.size());
    for (std::size_t i = 0; i < gain.size(); ++i) {
        const std::vector<double> r = paid(c, i), v = unmasked(c, x.value, i), l = unmasked(c, x.log_prob, i),
                                  b = unmasked(c, x.behaviour_log_prob, i);
        const std::size_t n = r.size();
        const auto weight = [&](std::size_t k, double largest) {
            const double ratio = std::exp(std::fmin(20.0, std::fmax(-20.0, l[k] - b[k])));
            return (1 - o.alpha) * ratio + o.alpha * std::fmin(ratio, largest);
        };
        const auto next_value = [&](std::size_t k) { return k + 1 < n ? v[k + 1] : after(c, i); };
        for (std::size_t s = 0; s < n; ++s) {
            double vs = v[s], trace = 1;
            for (std::size_t k = s; k < n; ++k) {
                vs += trace * weight(k, o.rho_max) * (r[k] + o.discount * next_value(k) - v[k]);
                trace *= o.discount * o.lambda * weight(k, o.c_max);
            }
            target[i].push_back(vs);
        }
        for (std::size_t s = 0; s < n; ++s) {
            const double mixed = s + 1 < n ? o.lambda * target[i][s + 1] + (1 - o.lambda) * v[s + 1] : after(c, i);
            gain[i].push_back(weight(s, o.rho_max) * (r[s] + o.discount * mixed - v[s]));
        }
    }
    table returns = at_unmasked(c, target);
    for (std::size_t i = 0; i < returns.size(); ++i)  // a row without a reward
        for (std::size_t t = 0; t < returns[i].size(); ++t)
            if (target[i].empty() && included(c.mask, i, t)) returns[i][t] = x.value[i][t];
    return {at_unmasked(c, gain), returns};
}
extra_arrays arrays_of(const advantage_case& c) {
    return {.value = array_of(c, row_array::value),
            .log_prob = array_of(c, row_array::log_prob),
            .behaviour_log_prob = array_of(c, row_array::behaviour_log_prob)};
}
vtrace random_options(dice& d) {
    return {.discount = d.chance(0.3) ? 1 : d.uniform(),
            .lambda = d.chance(0.3) ? 1 : d.uniform(),
            .rho_max = d.chance(0.3)   ? 1
                       : d.chance(0.2) ? infinity
                                       : d.uniform(0.2, 3),
            .c_max = d.chance(0.3) ? 1 : d.uniform(0, 2),
            .alpha = d.chance(0.5) ? 1 : d.uniform()};
}
}  // namespace

TEST_CASE("vtrace keeps the promises of an advantage estimator") {
    check_advantage(
        "vtrace", [](dice& d) { return with_row_arrays<vtrace>{random_options(d)}; },
        [](const with_row_arrays<vtrace>& o, const advantage_case& c) {
            return by_definition(o.estimator, c, arrays_of(c)).advantage;
        });
}

TEST_CASE("vtrace on three tokens: the formula sheet's golden vector") {
    const advantage_case c{.shape = {{0, 0, 0}}, .outcome = {{1}}, .group = {0}};
    const extra_arrays x{.value = {{0.1, 0.2, 0.3}},
                         .log_prob = {{-2 + std::log(0.5), -1 + std::log(1.5), -3}},
                         .behaviour_log_prob = {{-2, -1, -3}}};
    for (const layout how : layouts) {
        const actor_critic_result result = run_with(vtrace{.discount = 0.9}, c, x, how);
        REQUIRE(gap(result.returns, table{{0.455, 0.9, 1}}) < 1e-12);
        REQUIRE(gap(result.advantage, table{{0.355, 0.7, 0.7}}) < 1e-12);
    }
}

TEST_CASE("vtrace's critic targets are the paper's equation 1") {
    dice d(8);
    for (int n = 0; n < 1000; ++n) {
        CAPTURE(n);
        const vtrace o = random_options(d);
        const advantage_case c = random_advantage_case(d);
        const extra_arrays x = arrays_of(c);
        const actor_critic_result result = run_with(o, c, x);
        REQUIRE(gap(result.returns, by_definition(o, c, x).returns) < 1e-9);
        const actor_critic_result padded = run_with(o, c, x, layout::padded);
        REQUIRE(same_bits(padded.returns, result.returns));
        REQUIRE(same_bits(padded.advantage, result.advantage));
    }
}

TEST_CASE("vtrace without a change of policy is gae, its targets too") {
    dice d(9);
    for (int n = 0; n < 500; ++n) {
        const advantage_case c = random_advantage_case(d);
        extra_arrays x = arrays_of(c);
        x.behaviour_log_prob = x.log_prob;
        const double discount = d.uniform(), lambda = d.uniform();
        const actor_critic_result off = run_with(vtrace{.discount = discount, .lambda = lambda}, c, x);
        const actor_critic_result on =
            run_with(rlgaf::gae{.discount = discount, .lambda = lambda, .whiten = false}, c, {.value = x.value});
        REQUIRE(gap(off.advantage, on.advantage) < 1e-12);
        REQUIRE(gap(off.returns, on.returns) < 1e-12);
    }
}

TEST_CASE("vtrace without truncation estimates the policy that learns from another one's samples") {
    // Two steps of two actions, all four rows weighed by how often the behaviour policy takes them: the mean target of
    // the first state is the value under the policy that learns, whatever the critic says.
    const double p[] = {0.8, 0.3}, q[] = {0.4, 0.6}, reward[2][2] = {{1, -2}, {0.5, 3}}, critic[] = {0.3, -0.7, 1.1};
    double mean = 0, value = 0;
    for (std::size_t a = 0; a < 2; ++a)
        for (std::size_t b = 0; b < 2; ++b) {
            const auto of = [](const double* first, std::size_t k, std::size_t s) {
                return k == 0 ? first[s] : 1 - first[s];
            };
            const advantage_case c{.shape = {{0, 0}}, .token = {{0, reward[a][b]}}, .group = {0}};
            const extra_arrays x{.value = {{critic[0], critic[1 + a]}},
                                 .log_prob = {{std::log(of(p, a, 0)), std::log(of(p, b, 1))}},
                                 .behaviour_log_prob = {{std::log(of(q, a, 0)), std::log(of(q, b, 1))}}};
            const vtrace o{.rho_max = infinity, .c_max = infinity};
            mean += of(q, a, 0) * of(q, b, 1) * run_with(o, c, x).returns[0][0];
            value += of(p, a, 0) * of(p, b, 1) * reward[a][b];
        }
    REQUIRE(gap(mean, value) < 1e-14);
}

TEST_CASE("vtrace: alpha mixes the truncated with the plain ratio") {
    const advantage_case c{.shape = {{0}}, .outcome = {{1}}, .group = {0}};
    const extra_arrays x{.value = {{0}}, .log_prob = {{std::log(4.0)}}, .behaviour_log_prob = {{0}}};
    const auto a = [&](const vtrace& o) { return run_with(o, c, x).advantage[0][0]; };
    REQUIRE(gap(a({}), 1) < 1e-14);
    REQUIRE(gap(a({.alpha = 0.25}), 0.75 * 4 + 0.25 * 1) < 1e-14);
    REQUIRE(gap(a({.alpha = 0}), 4) < 1e-14);
    REQUIRE(gap(a({.rho_max = 3}), 3) < 1e-14);
    REQUIRE(gap(a({.rho_max = infinity}), 4) < 1e-14);
    REQUIRE(gap(a({.rho_max = infinity, .alpha = 0.5}), 4) < 1e-14);
}

TEST_CASE("vtrace: a log-ratio of 200 stays finite, and c truncates what flows back through it") {
    const advantage_case c{.shape = {{0, 0, 0}}, .outcome = {{1}}, .group = {0}};
    for (const double far : {200.0, -200.0}) {
        const extra_arrays x{.value = {{0, 0, 0}}, .log_prob = {{0, far, 0}}, .behaviour_log_prob = {{0, 0, 0}}};
        const double ratio = std::exp(far > 0 ? 20.0 : -20.0), kept = far > 0 ? 1 : ratio;
        REQUIRE(gap(run_with(vtrace{}, c, x).returns, table{{kept, kept, 1}}) < 1e-15);
        const table free = run_with(vtrace{.rho_max = infinity, .c_max = infinity}, c, x).returns;
        REQUIRE(gap(free[0][0] / ratio, 1) < 1e-12);
    }
}

TEST_CASE("vtrace: a row without a reward and masked rows teach neither policy nor critic") {
    const advantage_case c{
        .shape = {{0, 0}, {0}}, .outcome = {{not_a_number, 1}}, .mask = {{1, 1}, {0}}, .group = {0, 0}};
    const table nan_where_masked{{0, 0}, {not_a_number}};
    const actor_critic_result result = run_with(
        vtrace{}, c,
        {.value = {{5, 6}, {not_a_number}}, .log_prob = nan_where_masked, .behaviour_log_prob = nan_where_masked});
    REQUIRE(same_bits(result.advantage, zeros(c.shape)));
    REQUIRE(same_bits(result.returns, table{{5, 6}, {0}}));
    REQUIRE(run_with(vtrace{}, {.outcome = {{}}}, {}).advantage.empty());
}

TEST_CASE("vtrace refuses options and arrays out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(vtrace{.discount = x}, "vtrace", "discount"));
        REQUIRE(refuses(vtrace{.lambda = x}, "vtrace", "lambda"));
        REQUIRE(refuses(vtrace{.alpha = x}, "vtrace", "alpha"));
    }
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE(refuses(vtrace{.rho_max = x}, "vtrace", "rho_max"));
    for (const double x : {-1.0, not_a_number}) REQUIRE(refuses(vtrace{.c_max = x}, "vtrace", "c_max"));
    REQUIRE_NOTHROW((vtrace{.discount = 0, .lambda = 0, .rho_max = infinity, .c_max = 0, .alpha = 0}.check()));
    const advantage_case c{.shape = {{0, 0}}, .outcome = {{1}}, .group = {0}};
    REQUIRE_THROWS_AS(run_with(vtrace{.alpha = 2}, c, arrays_of(c)), rlgaf::option_error);
    const std::string start = "rlgaf::vtrace: terms.";
    const auto message = [&](const extra_arrays& x) {
        return message_of<rlgaf::shape_error>([&] { run_with(vtrace{}, c, x); });
    };
    extra_arrays x = arrays_of(c);
    x.value = {};
    REQUIRE(message(x) == start + "value: expected 1 elements, got 0");
    x = arrays_of(c);
    x.log_prob = {};
    REQUIRE(message(x) == start + "log_prob: expected 1 elements, got 0");
    x = arrays_of(c);
    x.behaviour_log_prob = {{1}};
    REQUIRE(message(x) == start + "behaviour_log_prob row 0: expected 2 tokens, got 1");
}
