#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/off_policy.hpp"
#include "rlgaf/policy_gradient/advantage/vtrace.hpp"

using namespace rlgaf_test;
using rlgaf::off_policy;
using rlgaf::off_policy_trace;

namespace {
constexpr off_policy_trace traces[] = {off_policy_trace::retrace, off_policy_trace::tree_backup,
                                       off_policy_trace::q_lambda, off_policy_trace::importance};

/// The paper's equation 3, a sum of products of coefficients times corrected temporal differences, forward from each
/// token: G_t - Q_t = sum over s of (product of discount c) (r_s + discount V_{s+1} - Q_s).
struct corrected {
    table advantage, returns;
};
corrected by_definition(const off_policy& o, const advantage_case& c, const extra_arrays& x,
                        const table& action_value) {
    table gain(c.shape.size()), target(c.shape.size());
    for (std::size_t i = 0; i < gain.size(); ++i) {
        const std::vector<double> r = paid(c, i), v = unmasked(c, x.value, i), l = unmasked(c, x.log_prob, i),
                                  b = unmasked(c, x.behaviour_log_prob, i),
                                  q = unmasked(c, action_value.empty() ? x.value : action_value, i);
        const std::size_t n = r.size();
        const auto ratio = [&](std::size_t k) { return std::exp(std::fmin(20.0, std::fmax(-20.0, l[k] - b[k]))); };
        const auto coefficient = [&](std::size_t k) {
            switch (o.trace) {
                case off_policy_trace::retrace:
                    return o.lambda * std::fmin(1, ratio(k));
                case off_policy_trace::tree_backup:
                    return o.lambda * std::exp(l[k]);
                case off_policy_trace::q_lambda:
                    return o.lambda;
                case off_policy_trace::importance:
                    return o.lambda * ratio(k);
            }
            return not_a_number;
        };
        for (std::size_t t = 0; t < n; ++t) {
            double g = q[t], product = 1;
            for (std::size_t s = t; s < n; ++s) {
                if (s > t) product *= o.discount * coefficient(s);
                g += product * (r[s] + o.discount * (s + 1 < n ? v[s + 1] : after(c, i)) - q[s]);
            }
            gain[i].push_back(std::fmin(o.rho_max, ratio(t)) * (g - v[t]));
            target[i].push_back(v[t] + gain[i][t]);
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
off_policy random_options(dice& d) {
    return {.trace = traces[d.below(4)],
            .discount = d.chance(0.3) ? 1 : d.uniform(),
            .lambda = d.chance(0.3) ? 1 : d.uniform(),
            .rho_max = d.chance(0.3)   ? 1
                       : d.chance(0.2) ? infinity
                                       : d.uniform(0.2, 3)};
}
/// An estimator that is given values of actions besides.
struct with_action_values {
    off_policy estimator;
    const table* action_value;
    layout how;

    template <class T>
    rlgaf::advantage_stats operator()(const rlgaf::advantage_terms<T>& given, rlgaf::workspace& work,
                                      const rlgaf::ragged_view<T>& advantage,
                                      const rlgaf::ragged_view<T>& returns) const {
        ragged<T> q(*action_value, how, std::numeric_limits<T>::quiet_NaN());
        rlgaf::advantage_terms<T> terms = given;
        terms.action_value = q.view();
        return estimator(terms, work, advantage, returns);
    }
};
}  // namespace

TEST_CASE("off_policy keeps the promises of an advantage estimator") {
    check_advantage(
        "off_policy", [](dice& d) { return with_row_arrays<off_policy>{random_options(d)}; },
        [](const with_row_arrays<off_policy>& o, const advantage_case& c) {
            return by_definition(o.estimator, c, arrays_of(c), {}).advantage;
        });
}

TEST_CASE("off_policy with action values is the paper's equation 3, targets included, in both layouts") {
    dice d(41);
    for (int i = 0; i < 2000; ++i) {
        CAPTURE(i);
        const off_policy o = random_options(d);
        const advantage_case c = random_advantage_case(d);
        const extra_arrays x = arrays_of(c);
        const table q = d.chance(0.2) ? x.value : array_of(c, row_array::score_norm);
        const corrected expected = by_definition(o, c, x, q);
        const actor_critic_result r = run_with(with_action_values{o, &q, layout::packed}, c, x);
        const double size = 1 + gap(expected.returns, zeros(c.shape));  // importance ratios multiply
        REQUIRE(gap(r.advantage, expected.advantage) < 1e-9 * size);
        REQUIRE(gap(r.returns, expected.returns) < 1e-9 * size);
        const actor_critic_result padded = run_with(with_action_values{o, &q, layout::padded}, c, x, layout::padded);
        REQUIRE(same_bits(padded.advantage, r.advantage));
        REQUIRE(same_bits(padded.returns, r.returns));
    }
}

TEST_CASE("off_policy on three tokens: what rlax's general_off_policy_returns_from_q_and_v gives") {
    const advantage_case c{.shape = {{0, 0, 0}}, .token = {{0, 0.5, 1}}, .bootstrap = {0.7}, .group = {0}};
    const table q = {{0.15, 0.25, 0.35}};
    const double v[] = {0.1, 0.2, 0.3};
    const auto check = [&](off_policy_trace trace, double lambda, const std::vector<double>& l,
                           const std::vector<double>& ratio, const std::vector<double>& g) {
        extra_arrays x{.value = {{v[0], v[1], v[2]}}, .log_prob = {l}, .behaviour_log_prob = {l}};
        for (std::size_t t = 0; t < 3; ++t) x.behaviour_log_prob[0][t] -= std::log(ratio[t]);
        const off_policy o{.trace = trace, .discount = 0.9, .lambda = lambda, .rho_max = infinity};
        const actor_critic_result r = run_with(with_action_values{o, &q, layout::packed}, c, x);
        for (std::size_t t = 0; t < 3; ++t) {
            REQUIRE(gap(r.advantage[0][t], ratio[t] * (g[t] - v[t])) < 1e-8);
            REQUIRE(gap(r.returns[0][t], v[t] + ratio[t] * (g[t] - v[t])) < 1e-8);
        }
    };
    const std::vector<double> l = {-0.5, -0.7, -0.2};
    check(off_policy_trace::retrace, 0.8, l, {0.5, 1.5, 1.2}, {1.217952, 1.6916, 1.63});
    check(off_policy_trace::q_lambda, 0.8, l, {0.5, 1.5, 1.2}, {1.217952, 1.6916, 1.63});
    check(off_policy_trace::tree_backup, 1, l, {0.5, 1.5, 1.2}, {0.833933345, 1.713177828, 1.63});
    // Without action values, importance is rlax's importance_corrected_td_errors.
    extra_arrays x{.value = {{v[0], v[1], v[2]}}, .log_prob = {l}, .behaviour_log_prob = {l}};
    const double ratio[] = {0.5, 1.5, 1.2};
    for (std::size_t t = 0; t < 3; ++t) x.behaviour_log_prob[0][t] -= std::log(ratio[t]);
    const off_policy o{.trace = off_policy_trace::importance, .discount = 0.9, .lambda = 0.8, .rho_max = infinity};
    REQUIRE(gap(run_with(o, c, x).advantage, table{{0.9683248, 2.57868, 1.596}}) < 1e-12);
}

TEST_CASE("off_policy: retrace without action values is vtrace, its targets too") {
    dice d(42);
    for (int i = 0; i < 500; ++i) {
        const advantage_case c = random_advantage_case(d);
        const extra_arrays x = arrays_of(c);
        const double discount = d.uniform(), lambda = d.uniform();
        const actor_critic_result retrace = run_with(off_policy{.discount = discount, .lambda = lambda}, c, x);
        const actor_critic_result v = run_with(rlgaf::vtrace{.discount = discount, .lambda = lambda}, c, x);
        REQUIRE(gap(retrace.advantage, v.advantage) < 1e-12);
        REQUIRE(gap(retrace.returns, v.returns) < 1e-12);
    }
}

TEST_CASE("off_policy with exact values of the policy that learns: every trace is unbiased at the first token") {
    // Two steps of two actions. With exact V and Q, the mean of ratio (G - V) over the behaviour policy's rows is 0, and
    // that of ratio G the value of the first state.
    const double p[] = {0.8, 0.3}, mu[] = {0.4, 0.6}, reward[2][2] = {{1, -2}, {0.5, 3}};
    const auto of = [](const double* first, std::size_t a, std::size_t s) { return a == 0 ? first[s] : 1 - first[s]; };
    double v[2], first = 0;
    for (std::size_t a = 0; a < 2; ++a) v[a] = p[1] * reward[a][0] + (1 - p[1]) * reward[a][1];
    for (std::size_t a = 0; a < 2; ++a) first += of(p, a, 0) * v[a];
    for (const off_policy_trace trace : traces) {
        double mean = 0;
        for (std::size_t a = 0; a < 2; ++a)
            for (std::size_t b = 0; b < 2; ++b) {
                const advantage_case c{.shape = {{0, 0}}, .token = {{0, reward[a][b]}}, .group = {0}};
                const extra_arrays x{.value = {{first, v[a]}},
                                     .log_prob = {{std::log(of(p, a, 0)), std::log(of(p, b, 1))}},
                                     .behaviour_log_prob = {{std::log(of(mu, a, 0)), std::log(of(mu, b, 1))}}};
                const table q = {{v[a], reward[a][b]}};
                const off_policy o{.trace = trace, .rho_max = infinity};
                mean += of(mu, a, 0) * of(mu, b, 1) *
                        run_with(with_action_values{o, &q, layout::packed}, c, x).advantage[0][0];
            }
        REQUIRE(gap(mean, 0) < 1e-14);
    }
}

TEST_CASE("off_policy: a log-ratio of 200 stays finite, rows without a reward teach nothing") {
    const advantage_case c{.shape = {{0, 0, 0}, {0, 0}}, .outcome = {{1, not_a_number}}, .group = {0, 0}};
    for (const off_policy_trace trace : traces)
        for (const double far : {200.0, -200.0}) {
            const extra_arrays x{.value = {{0, 0, 0}, {5, 6}},
                                 .log_prob = {{0, far, 0}, {0, 0}},
                                 .behaviour_log_prob = {{0, 0, 0}, {0, 0}}};
            if (trace == off_policy_trace::tree_backup && far > 0) continue;  // log_prob is no log-probability
            const actor_critic_result r = run_with(off_policy{.trace = trace}, c, x);
            REQUIRE(gap(r.returns[0], {0, 0, 0}) < 1e9);
            REQUIRE(same_bits(r.advantage[1], {0, 0}));
            REQUIRE(same_bits(r.returns[1], {5, 6}));
        }
}

TEST_CASE("off_policy refuses options and arrays out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(off_policy{.discount = x}, "off_policy", "discount"));
        REQUIRE(refuses(off_policy{.lambda = x}, "off_policy", "lambda"));
    }
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(off_policy{.rho_max = x}, "off_policy", "rho_max"));
    const advantage_case c{.shape = {{0, 0}}, .outcome = {{1}}, .group = {0}};
    REQUIRE_THROWS_AS(run_with(off_policy{.lambda = 2}, c, arrays_of(c)), rlgaf::option_error);
    const std::string start = "rlgaf::off_policy: terms.";
    const auto message = [&](const extra_arrays& x, const table& q) {
        return message_of<rlgaf::shape_error>([&] { run_with(with_action_values{{}, &q, layout::packed}, c, x); });
    };
    extra_arrays x = arrays_of(c);
    REQUIRE(message(x, {{1}}) == start + "action_value row 0: expected 2 tokens, got 1");
    x.value = {};
    REQUIRE(message(x, {{1, 1}}) == start + "value: expected 1 elements, got 0");
    x = arrays_of(c);
    x.log_prob = {};
    REQUIRE(message(x, {{1, 1}}) == start + "log_prob: expected 1 elements, got 0");
    x = arrays_of(c);
    x.behaviour_log_prob = {{1}};
    REQUIRE(message(x, {{1, 1}}) == start + "behaviour_log_prob row 0: expected 2 tokens, got 1");
}
