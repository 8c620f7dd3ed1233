#include "policy_gradient/loss/row_reference.hpp"
#include "rlgaf/policy_gradient/loss/gmpo.hpp"
#include "rlgaf/policy_gradient/loss/gspo.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"

using namespace rlgaf_test;
using rlgaf::aggregation;
using rlgaf::gmpo;

namespace {
const policy_loss_traits traits{.function = "gmpo", .needs = {"old_log_prob", "advantage"}};

gmpo random_options(dice& d) {
    if (d.chance(0.2)) return {};
    return {.clip_low = d.uniform(0, 1), .clip_high = d.uniform(0, 1)};
}

/// The mean that is exponentiated, with the sign trick of PPO's min written in log space as in the paper.
row_answer paper(const gmpo& o, const row_tokens& row) {
    const double sign = row.advantage > 0 ? 1 : row.advantage < 0 ? -1 : 0;
    double mean = 0, cut = 0;
    std::vector<double> slope;
    for (const double x : row.log_ratio) {
        const double held = sign == 0 ? x : sign * std::fmin(sign * x, sign * held_within(x, -o.clip_low, o.clip_high));
        mean += held / row.count();
        cut += held != x;
        slope.push_back(held == x ? 1 : 0);
    }
    const double s = std::exp(held_within(mean, -20, 20));
    for (double& x : slope) x *= std::abs(mean) > 20 ? 0 : -row.advantage * s / row.count();
    return {.loss = -row.advantage * s,
            .slope = slope,
            .ratio = s,
            .clipped_low = sign < 0 ? cut : 0,
            .clipped_high = sign > 0 ? cut : 0};
}
}  // namespace

TEST_CASE("gmpo keeps the promises of a policy loss") {
    check_policy_loss(traits, random_options, [](const gmpo& o, const policy_case& c, std::size_t b, std::size_t t) {
        if (!included(c.mask, b, t)) return false;
        const double x = c.log_prob[b][t] - c.old_log_prob[b][t], mean = std::log(paper(o, tokens_of_row(c, b)).ratio);
        return gap(x, -o.clip_low) < 1e-4 || gap(x, o.clip_high) < 1e-4 || gap(std::abs(mean), 20) < 1e-4;
    });
    check_long_rows(traits, random_options);
}

TEST_CASE("gmpo is the geometric mean of ratios that are clipped one by one") {
    check_row_definition(traits, random_options, paper);
}

TEST_CASE("gmpo on three tokens: the formula sheet's golden vectors") {
    const gmpo loss{.clip_low = 0.25, .clip_high = 0.25};
    policy_result r = run(loss, sheet_row(1));
    REQUIRE(gap(r.loss, -0.951229) < 1e-6);
    REQUIRE(gap(r.gradient, table{{0, -0.317076, -0.317076}}) < 1e-6);
    r = run(loss, sheet_row(-1));
    REQUIRE(gap(r.loss, 1.016806) < 1e-6);
    REQUIRE(gap(r.gradient, table{{0.338935, 0, 0.338935}}) < 1e-6);
}

TEST_CASE("gmpo counts the tokens that it clips, not their rows") {
    policy_arrays<double> arrays(sheet_row(1), layout::packed);
    ragged<double> gradient(zeros(sheet_row(1).log_prob), layout::packed, 0.0);
    const auto stats = gmpo{.clip_high = 0.25}(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
    REQUIRE(stats.tokens == 3);
    REQUIRE(stats.clipped_high == 1);
    REQUIRE(stats.clipped_low == 0);
}

TEST_CASE("gmpo without effective bounds is gspo without them, and a policy gradient on the policy's own samples") {
    dice d(2507);
    for (int i = 0; i < 300; ++i) {
        policy_case c = random_policy_case(d, traits);
        aggregate_rows(c, aggregation::sequence_mean);
        const policy_result wide = run(gmpo{.clip_low = 1e9, .clip_high = 1e9}, c);
        const policy_result other = run(rlgaf::gspo{.clip_low = 1 - 1e-12, .clip_high = 1e12}, c);
        REQUIRE(gap(wide.loss, other.loss) < 1e-12);
        REQUIRE(gap(wide.gradient, other.gradient) < 1e-12);
        c.old_log_prob = c.log_prob;
        c.token_factor = {};
        for (auto& row : c.advantage) row.assign(row.size(), row.empty() ? 0 : row[0]);
        REQUIRE(gap(run(gmpo{}, c).gradient, run(rlgaf::policy_gradient_loss{}, c).gradient) < 1e-14);
    }
}

TEST_CASE("gmpo at a kink: a log-ratio equal to its bound is not clipped") {
    const gmpo loss{.clip_low = 0.5, .clip_high = 0.25};
    REQUIRE(run_token(loss, 0.25, 0, 1).gradient[0][0] == -std::exp(0.25));
    REQUIRE(run_token(loss, -0.5, 0, -1).gradient[0][0] == std::exp(-0.5));
    REQUIRE(run_token(loss, 0.25 + 1e-12, 0, 1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, -0.5 - 1e-12, 0, -1).gradient[0][0] == 0);
    // Each bound holds on one side only.
    REQUIRE(run_token(loss, 3, 0, -1).gradient[0][0] == std::exp(3.0));
    REQUIRE(run_token(loss, -3, 0, 1).gradient[0][0] == -std::exp(-3.0));
    // Bounds of zero width: on the policy itself every token still learns.
    REQUIRE(run_token(gmpo{.clip_low = 0, .clip_high = 0}, -1, -1, 2).gradient[0][0] == -2);
    REQUIRE(run_token(gmpo{.clip_low = 0, .clip_high = 0}, -1, -1, -2).gradient[0][0] == 2);
    // The mean's limits themselves still have a gradient.
    REQUIRE(run_token(loss, 20, 0, -1).gradient[0][0] == std::exp(20.0));
    REQUIRE(run_token(loss, -20, 0, 1).gradient[0][0] == -std::exp(-20.0));
    REQUIRE(run_token(loss, 20 + 1e-12, 0, -1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, -20 - 1e-12, 0, 1).gradient[0][0] == 0);
}

TEST_CASE("trap 1: log-ratios of 200 overflow nothing in gmpo, in float neither") {
    const double e20 = std::exp(20.0);
    for (const double far : {200.0, 1e4}) {
        REQUIRE(gap(run<float>(gmpo{}, even_row(1, far, -1)).loss, e20) < 1e-12 * e20);
        REQUIRE(run<float>(gmpo{}, even_row(1, far, -1)).gradient[0][0] == 0);
        REQUIRE(gap(run(gmpo{}, even_row(1, -far, 1)).loss, -1 / e20) < 1e-20);
        REQUIRE(run(gmpo{}, even_row(1, -far, 1)).gradient[0][0] == 0);
        REQUIRE(gap(run(gmpo{}, even_row(1, far, 1)).loss, -std::exp(0.4)) < 1e-12);
        REQUIRE(run(gmpo{}, even_row(1, far, 1)).gradient[0][0] == 0);
        REQUIRE(gap(run(gmpo{}, even_row(1, -far, -1)).loss, std::exp(-0.4)) < 1e-12);
        REQUIRE(run(gmpo{}, even_row(1, -far, -1)).gradient[0][0] == 0);
    }
    policy_case c = even_row(3, 0.1, 1);  // a token that the sampler could not say is clipped like any other
    c.old_log_prob[0][1] = -infinity;
    const policy_result r = run(gmpo{}, c);
    REQUIRE(gap(r.loss, -3 * std::exp(0.2)) < 1e-12);
    REQUIRE(gap(r.gradient, table{{-std::exp(0.2), 0, -std::exp(0.2)}}) < 1e-12);
}

TEST_CASE("trap 2: the mean of many log-ratios needs no holding in gmpo") {
    const policy_result r = run(gmpo{}, even_row(1000, -0.1, 1, 1e-3));  // the sum is -100
    REQUIRE(gap(r.loss, -std::exp(-0.1)) < 1e-12);
    REQUIRE(gap(r.gradient[0][999], -std::exp(-0.1) / 1000) < 1e-12);
}

TEST_CASE("trap 8 and 36: rows without unmasked tokens change nothing in gmpo") {
    check_empty_rows(gmpo{.clip_low = 1, .clip_high = 1}, traits);
}

TEST_CASE("trap 31: gmpo's loss and gradient are 0 where the advantage is, and nothing counts as clipped") {
    for (const double x : {-200.0, -1.0, 0.0, 1.0, 200.0}) {
        const policy_case c = even_row(2, x, 0);
        policy_arrays<double> arrays(c, layout::packed);
        ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
        const auto stats = gmpo{}(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
        REQUIRE(stats.loss == 0);
        REQUIRE(stats.clipped_low + stats.clipped_high == 0);
        REQUIRE(gradient.rows() == table{{0, 0}});
    }
}

TEST_CASE("gmpo lets NaN show in what is not masked") {
    for (const char* name : {"log_prob", "old_log_prob", "advantage"}) {
        policy_case c = even_row(200, 0.1, 1);
        c[name][0][150] = not_a_number;
        const policy_result r = run(gmpo{}, c);
        REQUIRE(std::isnan(r.loss));
        REQUIRE(std::isnan(r.gradient[0][0]));
    }
}

TEST_CASE("gmpo refuses options out of range by name") {
    for (const double x : {-0.1, -infinity, not_a_number}) {
        REQUIRE(refuses(gmpo{.clip_low = x}, "gmpo", "clip_low"));
        REQUIRE(refuses(gmpo{.clip_high = x}, "gmpo", "clip_high"));
    }
    REQUIRE_NOTHROW(gmpo{}.check());
    REQUIRE_NOTHROW(gmpo{.clip_low = 0, .clip_high = 0}.check());
    REQUIRE_THROWS_AS(run_token(gmpo{.clip_low = -1}, 0, 0, 1), rlgaf::option_error);
}
