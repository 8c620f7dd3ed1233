#include "rlgaf/policy_gradient/value.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::value_loss;
using rlgaf::value_rule;

namespace {
/// value_loss in the shape of a policy loss, for its checks: log_prob is the value, old_log_prob the old value,
/// reference_log_prob the returns.
struct as_policy_loss {
    value_loss loss;
    template <class T>
    auto operator()(const rlgaf::policy_terms<T>& x, std::span<const double> weight,
                    const rlgaf::ragged_view<T>& d) const {
        return loss(rlgaf::value_terms<T>{x.log_prob, x.old_log_prob, x.reference_log_prob, x.mask}, weight, d);
    }
};
const policy_loss_traits traits{
    .function = "value_loss", .needs = {"old_log_prob", "reference_log_prob"}, .factor = false};
constexpr value_rule rules[] = {value_rule::squared, value_rule::clipped, value_rule::huber};

value_loss random_options(dice& d) {
    return {.rule = rules[d.below(3)],
            .coefficient = d.uniform(0, 2),
            .clip = d.uniform(0.01, 1),
            .huber_width = d.uniform(0.1, 2)};
}
/// One token, as in the papers.
double paper(const value_loss& o, double v, double old, double target) {
    const double e = v - target;
    if (o.rule == value_rule::squared) return 0.5 * e * e;
    if (o.rule == value_rule::huber) {
        const double a = std::fmin(std::abs(e), o.huber_width);
        return 0.5 * a * a + o.huber_width * (std::abs(e) - a);
    }
    const double held = std::fmin(std::fmax(v, old - o.clip), old + o.clip);
    return 0.5 * std::fmax(e * e, (held - target) * (held - target));
}
policy_case one(double value, double old, double target) {
    return {.log_prob = {{value}}, .old_log_prob = {{old}}, .reference_log_prob = {{target}}, .weight = {1}};
}
rlgaf::value_loss_stats stats_of(const value_loss& loss, const policy_case& c) {
    policy_arrays<double> arrays(c, layout::packed);
    ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
    return as_policy_loss{loss}(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
}
}  // namespace

TEST_CASE("value_loss has the slope of its value, in both layouts and types, under masks, orders and splits") {
    dice d(438);
    std::size_t compared = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
        const value_loss o = random_options(d);
        policy_case c = random_policy_case(d, traits);
        const auto near_kink = [&](std::size_t b, std::size_t t) {
            const double v = c.log_prob[b][t], old = c.old_log_prob[b][t], r = c.reference_log_prob[b][t];
            const double held = std::fmin(std::fmax(v, old - o.clip), old + o.clip);
            return o.rule == value_rule::clipped && (gap(std::abs(v - old), o.clip) < 1e-4 ||
                                                     (held != v && gap(std::abs(v - r), std::abs(held - r)) < 1e-4));
        };
        compared += check_slopes(as_policy_loss{o}, c, false, near_kink);
        if (i % 10 == 0) check_storage(as_policy_loss{o}, c, d), check_rows(as_policy_loss{o}, c, d);
    }
    REQUIRE(compared > 9000);
    check_nothing_to_learn(as_policy_loss{}, traits);
    check_no_allocation(as_policy_loss{}, traits, d);
}

TEST_CASE("value_loss agrees with the papers' formulas, and its statistics with their definitions") {
    dice d(440);
    for (int i = 0; i < 2000; ++i) {
        const value_loss o = random_options(d);
        const policy_case c = random_policy_case(d, traits);
        double loss = 0, size = 1, clipped = 0;
        std::vector<double> returns, residual;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double v = c.log_prob[b][t], r = c.reference_log_prob[b][t];
                const double term = c.weight[b] * o.coefficient * paper(o, v, c.old_log_prob[b][t], r);
                loss += term, size += std::abs(term);
                clipped += o.rule == value_rule::clipped &&
                           paper(o, v, c.old_log_prob[b][t], r) > 0.5 * (v - r) * (v - r) * (1 + 1e-12);
                returns.push_back(r), residual.push_back(r - v);
            }
        const rlgaf::value_loss_stats s = stats_of(o, c);
        REQUIRE(gap(s.loss, loss) < 1e-12 * size);
        REQUIRE(s.tokens == static_cast<double>(returns.size()));
        REQUIRE(s.clipped == clipped);
        const rlgaf::moments m = rlgaf::moments_of(returns), e = rlgaf::moments_of(residual);
        REQUIRE(gap(s.returns.mean, m.mean) < 1e-9);
        REQUIRE(gap(s.returns.squares, m.squares) < 1e-9 * (1 + m.squares));
        REQUIRE(gap(s.residual.squares, e.squares) < 1e-9 * (1 + e.squares));
        if (m.count > 1) REQUIRE(gap(s.explained_variance(), 1 - e.variance() / m.variance()) < 1e-9);
    }
}

TEST_CASE("value_loss by hand: squared, clipped on either side, Huber inside and outside") {
    const auto check = [](const value_loss& loss, double v, double old, double target, double value, double slope) {
        const policy_result r = run(as_policy_loss{loss}, one(v, old, target));
        REQUIRE(gap(r.loss, value) < 1e-15);
        REQUIRE(gap(r.gradient[0][0], slope) < 1e-15);
    };
    check({.rule = value_rule::squared}, 3, 0, 1, 2, 2);
    check({.rule = value_rule::squared, .coefficient = 0.5}, 3, 0, 1, 1, 1);
    check({.clip = 0.25}, 0.1, 0, 1, 0.405, -0.9);   // within the bounds
    check({.clip = 0.25}, 0.5, 0, 1, 0.28125, 0);    // moved towards the target, and too far: held at 0.25
    check({.clip = 0.25}, -0.5, 0, 1, 1.125, -1.5);  // moved away: the true error is the larger one and pulls back
    check({.rule = value_rule::huber, .huber_width = 1}, 0.5, 0, 0, 0.125, 0.5);
    check({.rule = value_rule::huber, .huber_width = 1}, 3, 0, 0, 2.5, 1);
    check({.rule = value_rule::huber, .huber_width = 1}, -3, 0, 0, 2.5, -1);
}

TEST_CASE("value_loss at a kink: equal errors are not clipped, and Huber is smooth") {
    // The value 0.5 and what it is held at, 0.25, are as far from the target 0.375.
    REQUIRE(run(as_policy_loss{{.clip = 0.25}}, one(0.5, 0, 0.375)).gradient[0][0] == 0.125);
    REQUIRE(stats_of({.clip = 0.25}, one(0.5, 0, 0.375)).clipped == 0);
    REQUIRE(run(as_policy_loss{{.clip = 0.25}}, one(0.25, 0, 1)).gradient[0][0] == -0.75);  // the bound itself
    REQUIRE(run(as_policy_loss{{.clip = 0.25}}, one(0.25 + 1e-9, 0, 1)).gradient[0][0] == 0);
    REQUIRE(run(as_policy_loss{{.rule = value_rule::huber}}, one(1, 0, 0)).gradient[0][0] == 1);
    REQUIRE(run(as_policy_loss{{.rule = value_rule::huber}}, one(1, 0, 0)).loss == 0.5);
}

TEST_CASE("value_loss of values 1e4 and 1e150 away, and of NaN") {
    for (const double far : {1e4, 1e150}) {
        const policy_result r = run(as_policy_loss{{.rule = value_rule::huber, .huber_width = 2}}, one(far, 0, 0));
        REQUIRE(r.gradient[0][0] == 2);
        REQUIRE(gap(r.loss, 2 * far) < 1e-2 * far);
        REQUIRE(run(as_policy_loss{{.rule = value_rule::squared}}, one(far, 0, 0)).gradient[0][0] == far);
    }
    for (const value_rule rule : rules) {
        const policy_result r = run(as_policy_loss{{.rule = rule}}, one(not_a_number, 0, 0));
        REQUIRE(std::isnan(r.loss));
        REQUIRE(std::isnan(r.gradient[0][0]));
    }
}

TEST_CASE("Trap: value_loss explains NaN of returns that are all equal, of one token and of none") {
    policy_case c{
        .log_prob = {{1, 2, 3}}, .old_log_prob = {{1, 2, 3}}, .reference_log_prob = {{0.1, 0.1, 0.1}}, .weight = {1}};
    REQUIRE(std::isnan(stats_of({}, c).explained_variance()));
    REQUIRE(std::isnan(stats_of({}, one(1, 1, 5)).explained_variance()));
    c.mask = {{0, 0, 0}};
    REQUIRE(std::isnan(stats_of({}, c).explained_variance()));
    REQUIRE(stats_of({}, c).tokens == 0);
}

TEST_CASE("The returns' offset costs the explained variance no digits") {
    policy_case c{.log_prob = {{1e8 + 1, 1e8 + 3}, {1e8 + 2}}, .weight = {1, 1}};
    c.reference_log_prob = {{1e8 + 1, 1e8 + 2}, {1e8 + 3}};
    REQUIRE(std::isnan(stats_of({.rule = value_rule::squared}, c).explained_variance()));  // 1 in 1e8 is no spread here
    c.log_prob = {{1e5 + 1, 1e5 + 3}, {1e5 + 2}};
    c.reference_log_prob = {{1e5 + 1, 1e5 + 2}, {1e5 + 3}};
    REQUIRE(gap(stats_of({.rule = value_rule::squared}, c).explained_variance(), 0) < 1e-9);
}

TEST_CASE("value_loss names the array of another shape, and needs old values only to clip") {
    const auto message = [](const value_loss& loss, const policy_case& c, const table& gradient) {
        return message_of<rlgaf::shape_error>([&] { run<double>(as_policy_loss{loss}, c, layout::padded, gradient); });
    };
    const table shape = {{1, 2}, {}, {3, 4, 5}};
    const policy_case good{
        .log_prob = shape, .old_log_prob = shape, .reference_log_prob = shape, .mask = shape, .weight = {1, 1, 1}};
    const auto refused = [&](auto&& change, const char* text) {
        policy_case bad = good;
        change(bad);
        REQUIRE(message({}, bad, shape) == std::string("rlgaf::value_loss: ") + text);
    };
    REQUIRE(message({}, good, shape) == "nothing thrown");
    refused([](policy_case& c) { c.old_log_prob = {{1, 2}, {}}; }, "terms.old_value: expected 3 elements, got 2");
    refused([](policy_case& c) { c.old_log_prob = {}; }, "terms.old_value: expected 3 elements, got 0");
    refused([](policy_case& c) { c.reference_log_prob = {}; }, "terms.returns: expected 3 elements, got 0");
    refused([](policy_case& c) { c.reference_log_prob[2] = {1}; }, "terms.returns row 2: expected 3 tokens, got 1");
    refused([](policy_case& c) { c.mask[0] = {1}; }, "terms.mask row 0: expected 2 tokens, got 1");
    refused([](policy_case& c) { c.weight = {1}; }, "row_weight: expected 3 elements, got 1");
    REQUIRE(message({}, good, {{1}, {}, {1, 2, 3}}) == "rlgaf::value_loss: gradient row 0: expected 2 tokens, got 1");
    policy_case bare = good;
    bare.old_log_prob = {};
    for (const value_rule rule : {value_rule::squared, value_rule::huber})
        REQUIRE(message({.rule = rule}, bare, shape) == "nothing thrown");
}

TEST_CASE("value_loss refuses options out of range by name") {
    for (const double x : {-0.1, infinity, -infinity, not_a_number})
        REQUIRE(refuses(value_loss{.coefficient = x}, "value_loss", "coefficient"));
    for (const double x : {0.0, -0.1, not_a_number}) {
        REQUIRE(refuses(value_loss{.clip = x}, "value_loss", "clip"));
        REQUIRE(refuses(value_loss{.huber_width = x}, "value_loss", "huber_width"));
    }
    REQUIRE_NOTHROW(value_loss{.coefficient = 0, .clip = infinity, .huber_width = infinity}.check());
    REQUIRE_THROWS_AS(stats_of({.clip = 0}, one(0, 0, 0)), rlgaf::option_error);
}
