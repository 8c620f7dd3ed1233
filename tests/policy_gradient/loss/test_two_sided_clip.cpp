#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/policy_gradient/loss/two_sided_clip.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::two_sided_clip;

namespace {
const policy_loss_traits traits{.function = "two_sided_clip", .needs = {"old_log_prob", "advantage"}};

two_sided_clip random_options(dice& d) {
    return {.clip_low = d.uniform(0, 0.9),
            .clip_high = d.uniform(0, 1),
            .delta = d.chance(0.4) ? d.uniform(1, 1.5) : d.uniform(1, 5)};
}

/// One token as in the paper: minus the smaller of the capped and of the clipped surrogate.
double paper(const two_sided_clip& o, double log_ratio, double advantage) {
    const double ratio = std::exp(std::fmin(std::fmax(log_ratio, -20), 20));
    const double clipped = std::fmin(std::fmax(ratio, 1 - o.clip_low), 1 + o.clip_high);
    return -std::fmin(std::fmin(ratio, o.delta) * advantage, clipped * advantage);
}
}  // namespace

TEST_CASE("two_sided_clip keeps the promises of a policy loss") {
    check_policy_loss(traits, random_options,
                      [](const two_sided_clip& o, const policy_case& c, std::size_t b, std::size_t t) {
                          const double d = c.log_prob[b][t] - c.old_log_prob[b][t];
                          for (const double bound : {1 - o.clip_low, 1 + o.clip_high, o.delta})
                              if (gap(d, std::log(bound)) < 1e-4) return true;
                          return gap(std::abs(d), 20) < 1e-4;
                      });
}

TEST_CASE("two_sided_clip agrees with the paper's formula and counts what it clips") {
    dice d(2505);
    for (int i = 0; i < 2000; ++i) {
        const two_sided_clip o = random_options(d);
        const policy_case c = random_policy_case(d, traits);
        double loss = 0, size = 1, tokens = 0, low = 0, high = 0, dual = 0;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double log_ratio = c.log_prob[b][t] - c.old_log_prob[b][t], a = c.advantage[b][t];
                const double term =
                    c.weight[b] * (c.token_factor.empty() ? 1 : c.token_factor[b][t]) * paper(o, log_ratio, a);
                loss += term;
                size += std::abs(term);
                tokens += 1;
                // Clipped: the formula no longer moves with the log-ratio.
                const bool flat = a != 0 && paper(o, log_ratio, a) == paper(o, log_ratio + 1e-9, a) &&
                                  paper(o, log_ratio, a) == paper(o, log_ratio - 1e-9, a) && log_ratio > -19.9;
                low += a < 0 && log_ratio < 0 && (flat || (log_ratio <= -19.9 && o.clip_low < 1));
                high += a > 0 && flat;
                dual += a < 0 && log_ratio > 0 && flat;
            }
        policy_arrays<double> arrays(c, layout::packed);
        ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
        const auto stats = o(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
        REQUIRE(gap(stats.loss, loss) < 1e-12 * size);
        REQUIRE(stats.tokens == tokens);
        REQUIRE(stats.clipped_low == low);
        REQUIRE(stats.clipped_high == high);
        REQUIRE(stats.clipped_dual == dual);
    }
}

TEST_CASE("two_sided_clip with delta above 1 + clip_high is PPO with that dual clip (INTELLECT-2)") {
    dice d(7);
    for (int i = 0; i < 500; ++i) {
        two_sided_clip o = random_options(d);
        o.delta = 1 + o.clip_high + d.uniform(0.01, 3);
        const policy_case c = random_policy_case(d, traits);
        const policy_result a = run(o, c);
        const policy_result b =
            run(rlgaf::ppo_clip{.clip_low = o.clip_low, .clip_high = o.clip_high, .dual_clip = o.delta}, c);
        REQUIRE(same_bits(a.loss, b.loss));
        REQUIRE(same_bits(a.gradient, b.gradient));
    }
    // The formula sheet's golden vector of the dual clip, c = 3.
    const two_sided_clip loss{.delta = 3};
    REQUIRE(gap(run_token(loss, std::log(4), 0, -1).loss, 3) < 1e-12);
    REQUIRE(run_token(loss, std::log(4), 0, -1).gradient[0][0] == 0);
    REQUIRE(gap(run_token(loss, std::log(2), 0, -1).loss, 2) < 1e-12);
    REQUIRE(gap(run_token(loss, std::log(2), 0, -1).gradient[0][0], 2) < 1e-12);
}

TEST_CASE("two_sided_clip with delta below 1 + clip_high caps gains at delta and losses at 1 + clip_high") {
    const two_sided_clip loss{.clip_low = 0.2, .clip_high = 0.5, .delta = 1.25};
    const double inside = std::log(1.4), outside = std::log(1.6);
    REQUIRE(gap(run_token(loss, inside, 0, 2).loss, -2.5) < 1e-12);
    REQUIRE(run_token(loss, inside, 0, 2).gradient[0][0] == 0);
    REQUIRE(gap(run_token(loss, inside, 0, -2).loss, 2.8) < 1e-12);
    REQUIRE(gap(run_token(loss, inside, 0, -2).gradient[0][0], 2.8) < 1e-12);
    REQUIRE(gap(run_token(loss, outside, 0, -2).loss, 3) < 1e-12);
    REQUIRE(run_token(loss, outside, 0, -2).gradient[0][0] == 0);
}

TEST_CASE("two_sided_clip at a kink: a ratio equal to its bound is not clipped") {
    const double down = -0.5, up = 0.5, far = 1;
    const two_sided_clip loss{.clip_low = 1 - rlgaf::exponential(down),
                              .clip_high = rlgaf::exponential(up) - 1,
                              .delta = rlgaf::exponential(far)};
    REQUIRE(run_token(loss, up, 0, 1).gradient[0][0] == -rlgaf::exponential(up));
    REQUIRE(run_token(loss, down, 0, -1).gradient[0][0] == rlgaf::exponential(down));
    REQUIRE(run_token(loss, far, 0, -1).gradient[0][0] == rlgaf::exponential(far));
    REQUIRE(run_token(loss, up + 1e-12, 0, 1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, down - 1e-12, 0, -1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, far + 1e-12, 0, -1).gradient[0][0] == 0);
}

TEST_CASE("trap 1: two_sided_clip holds log-ratios of 200 within +-20, without a gradient outside") {
    const two_sided_clip open{.clip_low = 0.2, .clip_high = infinity, .delta = infinity};
    const double e20 = std::exp(20.0);
    for (const double far : {21.0, 200.0, 1e4})
        for (const double a : {1.0, -1.0}) {
            REQUIRE(gap(run_token(open, far, 0, a).loss, -a * e20) < 1e-12 * e20);
            REQUIRE(run_token(open, far, 0, a).gradient[0][0] == 0);
            REQUIRE(gap(run_token(open, -far, 0, a).loss, a > 0 ? -1 / e20 : 0.8) < 1e-15);
            REQUIRE(run_token(open, -far, 0, a).gradient[0][0] == 0);
        }
    REQUIRE(gap(run_token(two_sided_clip{}, 200, 0, -1).loss, 4) < 1e-12);
    REQUIRE(gap(run_token(open, 20, 0, 1).gradient[0][0], -e20) < 1e-6);
}

TEST_CASE("two_sided_clip refuses options out of range by name") {
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(two_sided_clip{.clip_low = x}, "two_sided_clip", "clip_low"));
    for (const double x : {-0.1, not_a_number})
        REQUIRE(refuses(two_sided_clip{.clip_high = x}, "two_sided_clip", "clip_high"));
    for (const double x : {-1.0, 0.0, 0.999, not_a_number})
        REQUIRE(refuses(two_sided_clip{.delta = x}, "two_sided_clip", "delta"));
    REQUIRE_NOTHROW(two_sided_clip{.clip_low = 0, .clip_high = 0, .delta = 1}.check());
    REQUIRE_THROWS_AS(run_token(two_sided_clip{.delta = 0.5}, 0, 0, 1), rlgaf::option_error);
}
