#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::ppo_clip;

namespace {
const policy_loss_traits traits{.function = "ppo_clip", .needs = {"old_log_prob", "advantage"}};

ppo_clip random_options(dice& d) {
    return {.clip_low = d.uniform(0, 0.9),
            .clip_high = d.uniform(0, 1),
            .dual_clip = d.chance(0.3) ? 0 : d.uniform(1.001, 4)};
}

/// One token, written as in the papers: max of the two branches; dual clip as the min with -A c.
double paper(const ppo_clip& o, double log_ratio, double advantage) {
    const double ratio = std::exp(std::fmin(std::fmax(log_ratio, -20), 20));
    const double clipped = std::fmin(std::fmax(ratio, 1 - o.clip_low), 1 + o.clip_high);
    const double loss = std::fmax(-advantage * ratio, -advantage * clipped);
    return advantage < 0 && o.dual_clip > 0 ? std::fmin(loss, -advantage * o.dual_clip) : loss;
}
}  // namespace

TEST_CASE("ppo_clip keeps the promises of a policy loss") {
    check_policy_loss(traits, random_options,
                      [](const ppo_clip& o, const policy_case& c, std::size_t b, std::size_t t) {
                          const double d = c.log_prob[b][t] - c.old_log_prob[b][t];
                          for (const double bound : {1 - o.clip_low, 1 + o.clip_high, o.dual_clip})
                              if (bound > 0 && gap(d, std::log(bound)) < 1e-4) return true;
                          return gap(std::abs(d), 20) < 1e-4;
                      });
}

TEST_CASE("ppo_clip on three tokens: the formula sheet's golden vectors") {
    const policy_case c{
        .log_prob = {{-0.7, -2.4, -0.5}}, .old_log_prob = {{-1, -2, -0.5}}, .advantage = {{1, -1, 0.5}}, .weight = {1}};
    policy_result r = run(ppo_clip{.clip_low = 0.2, .clip_high = 0.2}, c);
    REQUIRE(gap(r.loss, -1.2 + 0.8 - 0.5) < 1e-12);
    REQUIRE(gap(r.gradient, table{{0, 0, -0.5}}) < 1e-12);
    r = run(ppo_clip{.clip_low = 0.2, .clip_high = 0.4}, c);
    REQUIRE(gap(r.loss, -1.349859 + 0.8 - 0.5) < 1e-6);
    REQUIRE(gap(r.gradient, table{{-1.349859, 0, -0.5}}) < 1e-6);
}

TEST_CASE("ppo_clip with dual clip: the formula sheet's golden vectors") {
    const ppo_clip loss{.dual_clip = 3};
    policy_result r = run_token(loss, std::log(4), 0, -1);
    REQUIRE(gap(r.loss, 3) < 1e-12);
    REQUIRE(r.gradient[0][0] == 0);
    r = run_token(loss, std::log(2), 0, -1);
    REQUIRE(gap(r.loss, 2) < 1e-12);
    REQUIRE(gap(r.gradient[0][0], 2) < 1e-12);
    r = run_token(ppo_clip{.dual_clip = 0}, std::log(4), 0, -1);
    REQUIRE(gap(r.loss, 4) < 1e-12);
    REQUIRE(gap(r.gradient[0][0], 4) < 1e-12);
}

TEST_CASE("ppo_clip agrees with the papers' formulas and counts what it clips") {
    dice d(1707);
    for (int i = 0; i < 2000; ++i) {
        const ppo_clip o = random_options(d);
        const policy_case c = random_policy_case(d, traits);
        double loss = 0, size = 1, tokens = 0, low = 0, high = 0, dual = 0, largest = 0, kl = 0;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double log_ratio = c.log_prob[b][t] - c.old_log_prob[b][t], a = c.advantage[b][t];
                const double ratio = std::exp(std::fmax(log_ratio, -20));
                const double factor = c.token_factor.empty() ? 1 : c.token_factor[b][t];
                const double term = c.weight[b] * factor * paper(o, log_ratio, a);
                loss += term;
                size += std::abs(term);
                tokens += 1;
                low += a < 0 && ratio < 1 - o.clip_low;
                high += a > 0 && ratio > 1 + o.clip_high;
                dual += a < 0 && o.dual_clip > 0 && ratio > o.dual_clip;
                largest = std::fmax(largest, ratio);
                kl += ratio - 1 - std::fmax(log_ratio, -20);
            }
        policy_arrays<double> arrays(c, layout::packed);
        ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
        const rlgaf::policy_loss_stats stats =
            o(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
        REQUIRE(gap(stats.loss, loss) < 1e-12 * size);
        REQUIRE(stats.tokens == tokens);
        REQUIRE(stats.clipped_low == low);
        REQUIRE(stats.clipped_high == high);
        REQUIRE(stats.clipped_dual == dual);
        REQUIRE(gap(stats.ratio_max, largest) < 1e-12 * (1 + largest));
        REQUIRE(gap(stats.kl_old, kl) < 1e-9);
    }
}

TEST_CASE("ppo_clip at a kink: a ratio equal to its bound is not clipped") {
    const double up = 0.5, down = -0.5, dual = 1;
    const ppo_clip loss{.clip_low = 1 - rlgaf::exponential(down), .clip_high = rlgaf::exponential(up) - 1, .dual_clip = rlgaf::exponential(dual)};
    REQUIRE(1 + loss.clip_high == rlgaf::exponential(up));  // both subtractions are exact
    REQUIRE(1 - loss.clip_low == rlgaf::exponential(down));
    REQUIRE(run_token(loss, up, 0, 1).gradient[0][0] == -rlgaf::exponential(up));
    REQUIRE(run_token(loss, down, 0, -1).gradient[0][0] == rlgaf::exponential(down));
    REQUIRE(run_token(loss, dual, 0, -1).gradient[0][0] == rlgaf::exponential(dual));
    REQUIRE(run_token(loss, up + 1e-12, 0, 1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, down - 1e-12, 0, -1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, dual + 1e-12, 0, -1).gradient[0][0] == 0);

    // Bounds of zero width: on the policy itself the ratio is 1 and every token still learns.
    const ppo_clip tight{.clip_low = 0, .clip_high = 0};
    REQUIRE(run_token(tight, -1, -1, 2).gradient[0][0] == -2);
    REQUIRE(run_token(tight, -1, -1, -2).gradient[0][0] == 2);
    // No advantage, no gradient, wherever the ratio is.
    for (const double d : {-1.0, 0.0, 1.0}) REQUIRE(run_token(tight, d, 0, 0).gradient[0][0] == 0);
    // The log-ratio's limits themselves still have a gradient.
    const ppo_clip open{.clip_low = 0.2, .clip_high = 1e12, .dual_clip = 0};
    REQUIRE(run_token(open, 20, 0, 1).gradient[0][0] == -rlgaf::exponential(20.0));
    REQUIRE(run_token(open, -20, 0, 1).gradient[0][0] == -rlgaf::exponential(-20.0));
    REQUIRE(run_token(open, 20 + 1e-12, 0, 1).gradient[0][0] == 0);
    REQUIRE(run_token(open, -20 - 1e-12, 0, 1).gradient[0][0] == 0);
}

TEST_CASE("ppo_clip holds log-ratios of 200 within +-20, without a gradient outside") {
    const ppo_clip open{.dual_clip = 0};
    const double e20 = std::exp(20.0);
    for (const double far : {21.0, 200.0, 1e4}) {
        policy_result r = run_token(open, far, 0, -1);
        REQUIRE(gap(r.loss, e20) < 1e-12 * e20);
        REQUIRE(r.gradient[0][0] == 0);
        r = run_token(open, far, 0, 1);
        REQUIRE(gap(r.loss, -1.28) < 1e-12);
        REQUIRE(r.gradient[0][0] == 0);
        r = run_token(open, -far, 0, 1);
        REQUIRE(gap(r.loss, -1 / e20) < 1e-20);
        REQUIRE(r.gradient[0][0] == 0);
        r = run_token(open, -far, 0, -1);
        REQUIRE(gap(r.loss, 0.8) < 1e-12);
        REQUIRE(r.gradient[0][0] == 0);
        const policy_result dual = run_token(ppo_clip{}, far, 0, -1);
        REQUIRE(gap(dual.loss, 3) < 1e-12);
        REQUIRE(dual.gradient[0][0] == 0);
    }
}

TEST_CASE("ppo_clip lets NaN show in what is not masked") {
    const policy_result r = run_token(ppo_clip{}, not_a_number, -1, 1);
    REQUIRE(std::isnan(r.loss));
    REQUIRE(std::isnan(r.gradient[0][0]));
}

TEST_CASE("ppo_clip on the policy's own samples is the plain policy gradient") {
    dice d(5);
    policy_case c = random_policy_case(d, traits);
    while (c.log_prob.size() < 3) c = random_policy_case(d, traits);
    c.old_log_prob = c.log_prob;
    c.mask = {};
    const table g = run(ppo_clip{}, c).gradient;
    for (std::size_t b = 0; b < g.size(); ++b)
        for (std::size_t t = 0; t < g[b].size(); ++t) {
            const double factor = c.token_factor.empty() ? 1 : c.token_factor[b][t];
            REQUIRE(gap(g[b][t], -c.weight[b] * factor * c.advantage[b][t]) < 1e-15);
        }
}

TEST_CASE("ppo_clip refuses options out of range by name") {
    for (const double x : {-0.1, 1.0, 1.5, not_a_number})
        REQUIRE(refuses(ppo_clip{.clip_low = x}, "ppo_clip", "clip_low"));
    for (const double x : {-0.1, -infinity, not_a_number})
        REQUIRE(refuses(ppo_clip{.clip_high = x}, "ppo_clip", "clip_high"));
    for (const double x : {-1.0, 0.5, 1.0, not_a_number})
        REQUIRE(refuses(ppo_clip{.dual_clip = x}, "ppo_clip", "dual_clip"));
    REQUIRE_NOTHROW(ppo_clip{}.check());
    REQUIRE_NOTHROW(ppo_clip{.clip_low = 0, .clip_high = 0, .dual_clip = 0}.check());
    REQUIRE_THROWS_AS(run_token(ppo_clip{.clip_low = 1}, 0, 0, 1), rlgaf::option_error);
}
