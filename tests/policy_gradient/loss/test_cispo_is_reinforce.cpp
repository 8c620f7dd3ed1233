#include "rlgaf/policy_gradient/loss/cispo.hpp"
#include "rlgaf/policy_gradient/loss/is_reinforce.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::cispo;
using rlgaf::is_reinforce;

namespace {
policy_loss_traits traits(const char* function) {
    return {.function = function, .needs = {"old_log_prob", "advantage"}};
}

/// check_policy_loss for losses whose ratio is held constant. log_prob and old_log_prob move together, which leaves the
/// ratio as it is: then the gradient is the slope of the loss.
template <class Make>
void check_detached_loss(const policy_loss_traits& traits, Make&& make) {
    dice d(2506);
    std::size_t compared = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        policy_case c = random_policy_case(d, traits);
        const table gradient = run(loss, c).gradient;
        double worst = 0;
        for (std::size_t b = 0; b < gradient.size(); ++b)
            for (std::size_t t = 0; t < gradient[b].size(); ++t) {
                const double log_prob = c.log_prob[b][t], old = c.old_log_prob[b][t];
                double shift = 0;
                const double expected = slope(
                    [&] {
                        c.log_prob[b][t] = log_prob + shift;
                        c.old_log_prob[b][t] = old + shift;
                        return run(loss, c).loss;
                    },
                    shift, 0.0078125);
                c.log_prob[b][t] = log_prob, c.old_log_prob[b][t] = old;
                worst = std::fmax(worst, gap(expected, gradient[b][t]) / (1 + std::abs(expected)));
                ++compared;
            }
        REQUIRE(worst < 1e-9);
        if (i % 10 != 0) continue;
        check_storage(loss, c, d);
        check_rows(loss, c, d);
    }
    REQUIRE(compared > 9000);
    const auto loss = make(d);
    check_nothing_to_learn(loss, traits);
    check_no_allocation(loss, traits, d);
    check_shape_errors(loss, traits);
}

/// Loss, gradient and counts against the definition, on random cases.
template <class Loss>
void check_definition(const Loss& loss, const policy_case& c, double lowest, double highest) {
    double expected = 0, size = 1, low = 0, high = 0;
    const table gradient = table_like(c.log_prob, [&](auto b, auto t) {
        if (!included(c.mask, b, t)) return 0.0;
        const double d = std::fmin(std::fmax(c.log_prob[b][t] - c.old_log_prob[b][t], -20), 20);
        const double weight = std::fmin(std::fmax(std::exp(d), lowest), highest);
        const double factor = c.token_factor.empty() ? 1 : c.token_factor[b][t];
        const double g = -c.weight[b] * factor * weight * c.advantage[b][t];
        expected += g * c.log_prob[b][t];
        size += std::abs(g * c.log_prob[b][t]);
        low += std::exp(d) < lowest;
        high += std::exp(d) > highest;
        return g;
    });
    policy_arrays<double> arrays(c, layout::padded);
    ragged<double> d_log_prob(zeros(c.log_prob), layout::padded, 0.0);
    const auto stats = loss(arrays.terms(), std::span<const double>(arrays.weight), d_log_prob.view());
    REQUIRE(gap(stats.loss, expected) < 1e-12 * size);
    for (std::size_t b = 0; b < gradient.size(); ++b) REQUIRE(gap(d_log_prob.rows()[b], gradient[b]) < 1e-12);
    REQUIRE(stats.clipped_low == low);
    REQUIRE(stats.clipped_high == high);
    REQUIRE(stats.clipped_dual == 0);
}

cispo random_cispo(dice& d) {
    return {.lowest = d.chance(0.3) ? 0 : d.uniform(), .highest = d.chance(0.2) ? infinity : d.uniform(1, 2)};
}
is_reinforce random_is_reinforce(dice& d) { return {.cap = d.chance(0.2) ? infinity : d.uniform(1, 2)}; }

const policy_case golden{
    .log_prob = {{-0.7, -2.4, -0.5}}, .old_log_prob = {{-1, -2, -0.5}}, .advantage = {{1, -1, 0.5}}, .weight = {1}};
}  // namespace

TEST_CASE("cispo keeps the promises of a policy loss") { check_detached_loss(traits("cispo"), random_cispo); }

TEST_CASE("is_reinforce keeps the promises of a policy loss") {
    check_detached_loss(traits("is_reinforce"), random_is_reinforce);
}

TEST_CASE("cispo on three tokens: the formula sheet's golden vectors") {
    policy_result r = run(cispo{.lowest = 0.8, .highest = 1.2}, golden);
    REQUIRE(gap(r.loss, 0.84 - 1.92 + 0.25) < 1e-12);
    REQUIRE(gap(r.gradient, table{{-1.2, 0.8, -0.5}}) < 1e-12);
    r = run(cispo{.highest = 5}, golden);
    REQUIRE(gap(r.loss, 0.944901 - 1.608768 + 0.25) < 2e-6);
    REQUIRE(gap(r.gradient, table{{-1.349859, 0.670320, -0.5}}) < 1e-6);
}

TEST_CASE("cispo and is_reinforce are the policy gradient with clipped weights") {
    dice d(13585);
    for (int i = 0; i < 2000; ++i) {
        const policy_case c = random_policy_case(d, traits("cispo"));
        const cispo a = random_cispo(d);
        check_definition(a, c, a.lowest, a.highest);
        const is_reinforce b = random_is_reinforce(d);
        check_definition(b, c, 0, b.cap);
    }
}

TEST_CASE("is_reinforce is cispo without a lower bound; with cap 1 on-policy it is the plain policy gradient") {
    dice d(3);
    for (int i = 0; i < 300; ++i) {
        policy_case c = random_policy_case(d, traits("cispo"));
        const double cap = d.uniform(1, 3);
        const policy_result a = run(is_reinforce{.cap = cap}, c), b = run(cispo{.highest = cap}, c);
        REQUIRE(same_bits(a.loss, b.loss));
        REQUIRE(same_bits(a.gradient, b.gradient));
        c.old_log_prob = c.log_prob;
        const policy_result weighted = run(is_reinforce{.cap = 1}, c), plain = run(rlgaf::policy_gradient_loss{}, c);
        REQUIRE(same_bits(weighted.loss, plain.loss));
        REQUIRE(same_bits(weighted.gradient, plain.gradient));
    }
}

TEST_CASE("cispo never drops a token: neither beyond a bound nor beyond a log-ratio of +-20") {
    const cispo verl{.lowest = 0.8, .highest = 1.2};
    for (const double a : {2.0, -2.0})
        for (const double far : {0.5, 19.0, 21.0, 200.0, 1e4}) {
            REQUIRE(gap(run_token(verl, far - 1, -1, a).gradient[0][0], -1.2 * a) < 1e-12);
            REQUIRE(gap(run_token(verl, -far - 1, -1, a).gradient[0][0], -0.8 * a) < 1e-12);
        }
}

TEST_CASE("trap 1: a log-ratio of 200 gives cispo and is_reinforce the weight exp(20), not infinity") {
    const double e20 = std::exp(20.0);
    for (const double far : {21.0, 200.0, 1e4}) {
        REQUIRE(gap(run_token(cispo{.highest = infinity}, far, 0, -1).gradient[0][0], e20) < 1e-12 * e20);
        REQUIRE(gap(run_token(is_reinforce{.cap = infinity}, far, 0, 1).gradient[0][0], -e20) < 1e-12 * e20);
        REQUIRE(gap(run_token(cispo{}, -far, 0, -1).gradient[0][0], 1 / e20) < 1e-20);
        REQUIRE(gap(run_token(is_reinforce{}, -far, 0, 1).gradient[0][0], -1 / e20) < 1e-20);
        REQUIRE(run_token(is_reinforce{}, far, 0, 1).gradient[0][0] == -2);
    }
    // In float, too, infinity is no bound.
    const policy_case c{.log_prob = {{-1}}, .old_log_prob = {{-1}}, .advantage = {{1}}, .weight = {1}};
    REQUIRE(run<float>(cispo{.highest = infinity}, c).gradient[0][0] == -1);
    REQUIRE(run<float>(is_reinforce{.cap = infinity}, c).gradient[0][0] == -1);
}

TEST_CASE("cispo and is_reinforce at a bound: the weight is continuous and counts as free there") {
    const double at = 0.5, bound = rlgaf::exponential(at);
    policy_case c{.log_prob = {{at}}, .old_log_prob = {{0}}, .advantage = {{1}}, .weight = {1}};
    policy_arrays<double> arrays(c, layout::packed);
    for (const double cap : {bound, std::nextafter(bound, 0)}) {
        ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
        const std::span<const double> weight(arrays.weight);
        REQUIRE(is_reinforce{.cap = cap}(arrays.terms(), weight, gradient.view()).clipped_high == (cap < bound));
        REQUIRE(cispo{.highest = cap}(arrays.terms(), weight, gradient.view()).clipped_high == (cap < bound));
        REQUIRE(gap(gradient.rows()[0][0], -2 * bound) < 1e-14);
    }
}

TEST_CASE("trap 19: the values of cispo and is_reinforce are no measure: they move while nothing else does") {
    policy_case c = golden;
    const policy_result before = run(cispo{}, c);
    for (table* x : {&c.log_prob, &c.old_log_prob})
        for (double& v : (*x)[0]) v -= 1;
    const policy_result after = run(cispo{}, c);
    REQUIRE(gap(after.gradient, before.gradient) < 1e-15);
    REQUIRE(gap(after.loss, before.loss) > 0.1);
    REQUIRE(gap(run(is_reinforce{}, c).loss, run(is_reinforce{}, golden).loss) > 0.1);
}

TEST_CASE("trap 20: cispo refuses a cap of 0.2, which is TRL's when epsilon_high is left unset") {
    REQUIRE(refuses(cispo{.highest = 0.2}, "cispo", "highest"));
    REQUIRE_THROWS_AS(run_token(cispo{.highest = 0.2}, 0, 0, 1), rlgaf::option_error);
}

TEST_CASE("trap 31: cispo and is_reinforce learn nothing where the advantage is 0") {
    for (const double d : {-200.0, -1.0, 0.0, 1.0, 200.0}) {
        REQUIRE(run_token(cispo{}, d, 0, 0).loss == 0);
        REQUIRE(run_token(cispo{}, d, 0, 0).gradient[0][0] == 0);
        REQUIRE(run_token(is_reinforce{}, d, 0, 0).loss == 0);
        REQUIRE(run_token(is_reinforce{}, d, 0, 0).gradient[0][0] == 0);
    }
}

TEST_CASE("cispo and is_reinforce refuse options out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) REQUIRE(refuses(cispo{.lowest = x}, "cispo", "lowest"));
    for (const double x : {-1.0, 0.99, not_a_number}) REQUIRE(refuses(cispo{.highest = x}, "cispo", "highest"));
    for (const double x : {-1.0, 0.0, 0.99, not_a_number})
        REQUIRE(refuses(is_reinforce{.cap = x}, "is_reinforce", "cap"));
    REQUIRE_NOTHROW(cispo{.lowest = 1, .highest = 1}.check());
    REQUIRE_NOTHROW(is_reinforce{.cap = infinity}.check());
    REQUIRE_THROWS_AS(run_token(is_reinforce{.cap = 0}, 0, 0, 1), rlgaf::option_error);
}
