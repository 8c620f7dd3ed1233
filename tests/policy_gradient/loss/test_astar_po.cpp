#include "policy_gradient/loss/row_reference.hpp"
#include "rlgaf/policy_gradient/loss/astar_po.hpp"

using namespace rlgaf_test;
using rlgaf::astar_po;

namespace {
const policy_loss_traits traits{.function = "astar_po", .needs = {"reference_log_prob", "advantage"}};

astar_po random_options(dice& d) {
    if (d.chance(0.2)) return {};
    return {.beta = d.uniform(1e-3, 1)};
}
}  // namespace

TEST_CASE("astar_po keeps the promises of a policy loss") {
    check_policy_loss(traits, random_options);
    check_long_rows(traits, random_options);
}

TEST_CASE("astar_po is the squared distance of the row's log-ratio from its advantage") {
    check_row_definition(traits, random_options, [](const astar_po& o, const row_tokens& row) {
        const double s = row.sum(), a = row.advantage;
        const double slope = 2 * o.beta * o.beta * s - 2 * o.beta * a;
        return row_answer{.loss = o.beta * o.beta * s * s - 2 * o.beta * s * a + a * a,
                          .slope = std::vector<double>(row.log_ratio.size(), slope)};
    });
}

TEST_CASE("astar_po on three tokens, by hand") {
    policy_case c = sheet_row(1);
    c.old_log_prob = {};
    c.reference_log_prob = {{-1.2, -1.9, -0.4}};  // the sum of log-ratios is -0.1
    policy_result r = run(astar_po{.beta = 1}, c);
    REQUIRE(gap(r.loss, 1.21) < 1e-12);
    REQUIRE(gap(r.gradient, table{{-2.2, -2.2, -2.2}}) < 1e-12);
    r = run(astar_po{}, c);
    REQUIRE(gap(r.loss, 1.0001 * 1.0001) < 1e-12);
    REQUIRE(gap(r.gradient, table{{-0.0020002, -0.0020002, -0.0020002}}) < 1e-12);
}

TEST_CASE("astar_po pulls rows of advantage 0 back to the reference and rests where beta log-ratio is the advantage") {
    REQUIRE(gap(run_token(astar_po{.beta = 0.5}, -1, 0, 0, -3).gradient[0][0], 1) < 1e-15);
    REQUIRE(gap(run_token(astar_po{.beta = 0.5}, -5, 0, 0, -3).gradient[0][0], -1) < 1e-15);
    REQUIRE(run_token(astar_po{.beta = 0.5}, -1, 0, 1, -3).gradient[0][0] == 0);
    REQUIRE(run_token(astar_po{.beta = 0.5}, -1, 0, 1, -3).loss == 0);
}

TEST_CASE("trap 2: astar_po does not hold its sum, which is not exponentiated") {
    policy_case c = even_row(1000, 0.4, 1, 1e-3);  // the sum is 400, its goal 1000
    c.reference_log_prob.swap(c.old_log_prob);
    const policy_result r = run(astar_po{}, c);
    REQUIRE(gap(r.loss, 0.36) < 1e-12);
    REQUIRE(gap(r.gradient[0][0], -2e-3 * 0.6) < 1e-14);
    REQUIRE(gap(run_token(astar_po{.beta = 1}, 200, 0, 0, 0).loss, 4e4) < 1e-9);
}

TEST_CASE("trap 8 and 36: rows without unmasked tokens change nothing in astar_po") {
    check_empty_rows(astar_po{}, traits);
}

TEST_CASE("astar_po does not read old_log_prob") {
    dice d(2505);
    policy_case c = random_policy_case(d, traits);
    while (c.log_prob.size() < 3) c = random_policy_case(d, traits);
    const policy_result without = run(astar_po{.beta = 0.1}, c);
    c.old_log_prob = table_like(c.log_prob, [](auto, auto) { return not_a_number; });
    const policy_result with = run(astar_po{.beta = 0.1}, c);
    REQUIRE(same_bits(with.loss, without.loss));
    REQUIRE(same_bits(with.gradient, without.gradient));
}

TEST_CASE("astar_po lets NaN show in what is not masked") {
    for (const char* name : {"log_prob", "reference_log_prob", "advantage"}) {
        policy_case c = even_row(200, 0.1, 1);
        c.reference_log_prob.swap(c.old_log_prob);
        c[name][0][150] = not_a_number;
        const policy_result r = run(astar_po{}, c);
        REQUIRE(std::isnan(r.loss));
        REQUIRE(std::isnan(r.gradient[0][0]));
    }
}

TEST_CASE("astar_po refuses options out of range by name") {
    for (const double x : {0.0, -0.1, infinity, -infinity, not_a_number})
        REQUIRE(refuses(astar_po{.beta = x}, "astar_po", "beta"));
    REQUIRE_NOTHROW(astar_po{}.check());
    REQUIRE_THROWS_AS(run_token(astar_po{.beta = 0}, 0, 0, 1), rlgaf::option_error);
}
