#include "rlgaf/policy_gradient/all_action.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::all_action;
using rlgaf::all_action_rule;
using vector = std::vector<double>;

namespace {
constexpr all_action_rule rules[] = {all_action_rule::q_policy_gradient, all_action_rule::regret_matching,
                                     all_action_rule::regret};

struct outcome {
    double loss;
    vector gradient;
};
template <class T = double>
outcome run(const all_action& loss, const vector& z, const vector& q, double weight = 1, double start = 0) {
    const std::vector<T> logit(z.begin(), z.end()), value(q.begin(), q.end());
    std::vector<T> d(z.size(), static_cast<T>(start));
    rlgaf::workspace work;
    work.a = {1e12, 1e12};
    const double l = loss(std::span<const T>(logit), std::span<const T>(value), weight, work, std::span<T>(d));
    return {l, {d.begin(), d.end()}};
}
vector softmax(const vector& z, double temperature) {
    vector p(z.size());
    double sum = 0;
    for (std::size_t j = 0; j < z.size(); ++j) sum += p[j] = std::exp(z[j] / temperature);
    for (double& x : p) x /= sum;
    return p;
}
/// rlax's definitions. `regret`: the advantages that are held constant, from other logits.
double by_definition(const all_action& o, const vector& z, const vector& q, const vector& held) {
    const vector p = softmax(z, o.temperature), constant = softmax(held, o.temperature);
    double b = 0, held_b = 0, loss = 0;
    for (std::size_t a = 0; a < z.size(); ++a) b += p[a] * q[a], held_b += constant[a] * q[a];
    for (std::size_t a = 0; a < z.size(); ++a) {
        if (o.rule == all_action_rule::q_policy_gradient) loss -= p[a] * q[a];
        if (o.rule == all_action_rule::regret_matching) loss -= p[a] * std::fmax(0, q[a] - held_b);
        if (o.rule == all_action_rule::regret) loss += std::fmax(0, q[a] - b);
    }
    return loss;
}
}  // namespace

TEST_CASE("all_action on two tokens: what rlax's qpg_loss, rm_loss and rpg_loss give") {
    const vector z[] = {{0.5, -1.0, 0.3}, {2.0, 0.1, -0.4}}, q[] = {{1.0, -0.5, 0.25}, {0.2, 0.4, -1.5}};
    const struct {
        double loss;  // rlax's means over the two tokens; of qpg the value is 0 there
        vector gradient[2];
    } expected[] = {
        {not_a_number, {{-0.113780128, 0.056570606, 0.057209522}, {-0.040403668, -0.018102319, 0.058505987}}},
        {-0.17228611530173865, {{-0.058056387, 0.012433647, 0.04562274}, {0.006767678, -0.011046966, 0.004279288}}},
        {0.4325474499088381, {{-0.113780128, 0.056570606, 0.057209522}, {-0.080807336, -0.036204639, 0.117011975}}}};
    for (std::size_t r = 0; r < 3; ++r) {
        double mean = 0;
        for (std::size_t n = 0; n < 2; ++n) {
            const outcome x = run({.rule = rules[r]}, z[n], q[n], 0.5);
            mean += x.loss / 2;
            REQUIRE(gap(x.gradient, expected[r].gradient[n]) < 1e-9);
        }
        if (r > 0) REQUIRE(gap(mean, expected[r].loss) < 1e-14);
    }
}

TEST_CASE("all_action is its definition, and its gradient the slope by every logit, in float too") {
    dice d(610);
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const std::size_t n = 1 + d.below(7);
        const all_action loss{.rule = rules[d.below(3)], .temperature = d.chance(0.4) ? 1 : d.uniform(0.3, 3)};
        vector z(n), q(n);
        for (double& x : z) x = 2 * d.normal();
        for (double& x : q) x = d.normal();
        const double weight = d.uniform(-1, 2);
        const outcome r = run(loss, z, q, weight), added = run(loss, z, q, weight, 5);
        REQUIRE(gap(r.loss, by_definition(loss, z, q, z)) < 1e-13);
        vector held = z;
        double sum = 0, middle = 0;
        const vector p = softmax(z, loss.temperature);
        for (std::size_t a = 0; a < n; ++a) middle += p[a] * q[a];
        bool kink = false;
        for (std::size_t a = 0; a < n; ++a) kink = kink || gap(q[a], middle) < 1e-3;
        for (std::size_t a = 0; a < n; ++a) {
            sum += r.gradient[a];
            REQUIRE(added.gradient[a] == 5 + r.gradient[a]);
            if (kink) continue;
            REQUIRE(gap(r.gradient[a], slope([&] { return weight * by_definition(loss, z, q, held); }, z[a])) < 1e-7);
        }
        REQUIRE(gap(sum, 0) < 1e-13);  // a shift of all logits changes nothing
        for (vector* x : {&z, &q})
            for (double& v : *x) v = static_cast<double>(static_cast<float>(v));
        const outcome wide = run(loss, z, q, weight), narrow = run<float>(loss, z, q, weight);
        REQUIRE(narrow.loss == wide.loss);
        for (std::size_t a = 0; a < n; ++a)
            REQUIRE(narrow.gradient[a] == static_cast<double>(static_cast<float>(wide.gradient[a])));
    }
}

TEST_CASE("all_action: the mean of the sampled policy gradient is qpg") {
    const vector z = {0.3, -0.7, 1.1}, q = {2, -1, 0.5}, p = softmax(z, 1);
    vector expected(3, 0.0);
    for (std::size_t a = 0; a < 3; ++a)
        for (std::size_t j = 0; j < 3; ++j) expected[j] -= p[a] * q[a] * ((j == a ? 1 : 0) - p[j]);
    REQUIRE(gap(run({}, z, q).gradient, expected) < 1e-15);
}

TEST_CASE("all_action at kinks and in degenerate cases") {
    for (const all_action_rule rule : rules) {
        const all_action loss{.rule = rule};
        // Equal values: nothing to choose.
        const outcome equal = run(loss, {1, -2, 0.5}, {0.7, 0.7, 0.7});
        REQUIRE(gap(equal.gradient, vector(3, 0.0)) < 1e-15);
        REQUIRE(gap(equal.loss, rule == all_action_rule::q_policy_gradient ? -0.7 : 0) < 1e-15);
        // An action that cannot be taken has no say, even if its value is no number.
        const outcome two = run(loss, {0.5, 1}, {1, -1}), three = run(loss, {0.5, -infinity, 1}, {1, not_a_number, -1});
        REQUIRE(same_bits(three.loss, two.loss));
        REQUIRE(gap(three.gradient, {two.gradient[0], 0, two.gradient[1]}) == 0);
        // Logits 200 and 1e4 apart.
        for (const double far : {200.0, 1e4}) {
            const outcome r = run<float>(loss, {far, 0, -far}, {1, 2, 3});
            REQUIRE(std::abs(r.loss) < 10);
            REQUIRE(gap(r.gradient, vector(3, 0.0)) < 1e-30);
        }
        // One action; no gradient asked for.
        REQUIRE(gap(run(loss, {3}, {2}).gradient, {0}) == 0);
        rlgaf::workspace work;
        const vector z = {1, 2}, q = {3, 4};
        REQUIRE(loss(std::span<const double>(z), std::span<const double>(q), 1, work, std::span<double>{}) ==
                run(loss, z, q).loss);
    }
    // p = 1/2 each: b = 0 exactly, the middle action has A = 0 and counts as no regret: K = 1.
    const outcome kink = run({.rule = all_action_rule::regret}, {0, -infinity, 0}, {1, 5, -1});
    REQUIRE(gap(kink.gradient, {-0.5, 0, 0.5}) < 1e-15);
    const outcome tie = run({.rule = all_action_rule::regret}, {0, 0, 0, 0}, {1, 0, 0, -1});
    REQUIRE(gap(tie.gradient, {-0.25, 0, 0, 0.25}) < 1e-15);
}

TEST_CASE("all_action refuses shapes, NaN and options by name, and allocates nothing twice") {
    const vector z = {1, 2, 3}, two = {1, 2};
    vector d(3), d_two(2);
    rlgaf::workspace work;
    const auto call = [&](const vector& logit, const vector& q, vector& gradient) {
        return message_of<rlgaf::error>([&] {
            all_action{}(std::span<const double>(logit), std::span<const double>(q), 1, work,
                         std::span<double>(gradient));
        });
    };
    REQUIRE(call(z, z, d) == "nothing thrown");
    REQUIRE(call(z, two, d) == "rlgaf::all_action: action_value: expected 3 elements, got 2");
    REQUIRE(call(z, z, d_two) == "rlgaf::all_action: d_logit: expected 3 elements, got 2");
    REQUIRE(call({1, not_a_number, 2}, z, d) == "rlgaf::all_action: logit: expected numbers, got nan");
    REQUIRE(call(z, {1, not_a_number, 2}, d) == "rlgaf::all_action: action_value: expected numbers, got nan");
    for (const double x : {0.0, -1.0, infinity, not_a_number})
        REQUIRE(refuses(all_action{.temperature = x}, "all_action", "temperature"));
    REQUIRE(allocations_of([&] {
                all_action{}(std::span<const double>(z), std::span<const double>(z), 1, work, std::span<double>(d));
            }) == 0);
}
