#include "rlgaf/policy_gradient/loss/gspo_token.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::gspo_token;

namespace {
const policy_loss_traits traits{.function = "gspo_token", .needs = {"old_log_prob", "advantage"}};

gspo_token random_options(dice& d) {
    return {.clip_low = d.chance(0.3) ? 3e-4 : d.uniform(0, 0.9), .clip_high = d.chance(0.3) ? 4e-4 : d.uniform(0, 1)};
}

double mean_log_ratio(const policy_case& c, std::size_t b) {
    double sum = 0, n = 0;
    for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
        if (included(c.mask, b, t)) sum += c.log_prob[b][t] - c.old_log_prob[b][t], n += 1;
    return n > 0 ? sum / n : 0;
}

/// One token as in the paper, as a function of its log_prob; s_i and sg(log_prob) stay those of the case.
double paper(const gspo_token& o, const policy_case& c, std::size_t b, std::size_t t, double log_prob) {
    const double mean = mean_log_ratio(c, b), a = c.advantage[b][t];
    const double moves = std::abs(mean) > 20 ? 0 : log_prob - c.log_prob[b][t];
    const double s = std::exp(std::fmin(std::fmax(mean, -20), 20)) * std::exp(moves);
    const double clipped = std::fmin(std::fmax(s, 1 - o.clip_low), 1 + o.clip_high);
    return c.weight[b] * (c.token_factor.empty() ? 1 : c.token_factor[b][t]) * std::fmax(-a * s, -a * clipped);
}

bool near_kink(const gspo_token& o, const policy_case& c, std::size_t b) {
    const double mean = mean_log_ratio(c, b);
    return gap(std::abs(mean), 20) < 1e-4 || gap(mean, std::log(1 - o.clip_low)) < 1e-4 ||
           gap(mean, std::log(1 + o.clip_high)) < 1e-4;
}
}  // namespace

TEST_CASE("gspo_token agrees with the paper's formula: value, slope with the row's ratio held, counts") {
    dice d(18071);
    std::size_t compared = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const gspo_token o = random_options(d);
        const policy_case c = random_policy_case(d, traits);
        double loss = 0, size = 1, low = 0, high = 0, worst = 0, tokens = 0;
        policy_arrays<double> arrays(c, layout::padded);
        ragged<double> gradient(zeros(c.log_prob), layout::padded, 0.0);
        const auto stats = o(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double term = paper(o, c, b, t, c.log_prob[b][t]), mean = mean_log_ratio(c, b);
                loss += term;
                size += std::abs(term);
                tokens += 1;
                low += c.advantage[b][t] < 0 && mean < std::log(1 - o.clip_low);
                high += c.advantage[b][t] > 0 && mean > std::log(1 + o.clip_high);
                if (near_kink(o, c, b)) continue;
                double x = c.log_prob[b][t];
                const double expected = slope([&] { return paper(o, c, b, t, x); }, x);
                worst = std::fmax(worst, gap(gradient.rows()[b][t], expected) / (1 + std::abs(expected)));
                ++compared;
            }
        REQUIRE(worst < 1e-8);
        REQUIRE(gap(stats.loss, loss) < 1e-12 * size);
        REQUIRE(stats.tokens == tokens);
        REQUIRE(stats.clipped_low == low);
        REQUIRE(stats.clipped_high == high);
        REQUIRE(stats.clipped_dual == 0);
        if (i % 10 != 0) continue;
        check_storage(o, c, d);
        check_rows(o, c, d);
    }
    REQUIRE(compared > 9000);
    check_nothing_to_learn(gspo_token{}, traits);
    check_no_allocation(gspo_token{}, traits, d);
    check_shape_errors(gspo_token{}, traits);
}

TEST_CASE("gspo_token with an advantage and a factor a row is GSPO: then its gradient is the slope of the whole loss") {
    dice d(4);
    std::size_t compared = 0;
    for (int i = 0; i < 3000; ++i) {
        const gspo_token o = random_options(d);
        policy_case c = random_policy_case(d, traits);
        for (std::size_t b = 0; b < c.log_prob.size(); ++b) {
            for (double& a : c.advantage[b]) a = c.advantage[b][0];
            if (!c.token_factor.empty())
                for (double& f : c.token_factor[b]) f = c.token_factor[b][0];
        }
        compared += check_slopes(o, c, false, [&](std::size_t b, std::size_t) { return near_kink(o, c, b); });
    }
    REQUIRE(compared > 9000);
}

TEST_CASE("gspo_token on three tokens: the formula sheet's golden vector of GSPO, sequence-mean weight 1/3") {
    const policy_case c{.log_prob = {{-0.7, -2.4, -0.5}},
                        .old_log_prob = {{-1, -2, -0.5}},
                        .advantage = {{1, 1, 1}},
                        .weight = {1.0 / 3}};
    const policy_result r = run(gspo_token{}, c);
    REQUIRE(gap(r.loss, -0.967216) < 1e-6);
    REQUIRE(gap(r.gradient, table{{-0.322405, -0.322405, -0.322405}}) < 1e-6);
}

TEST_CASE("gspo_token decides by the row's ratio and the token's own advantage") {
    // s = exp(0.1): gains are clipped, losses are not, whatever the token's own ratio is.
    const policy_case c{
        .log_prob = {{0.5, -0.3, 0.1}}, .old_log_prob = {{0, 0, 0}}, .advantage = {{1, -1, 0}}, .weight = {1}};
    const policy_result r = run(gspo_token{.clip_low = 0.05, .clip_high = 0.05}, c);
    REQUIRE(gap(r.loss, -1.05 + std::exp(0.1)) < 1e-12);
    REQUIRE(gap(r.gradient, table{{0, std::exp(0.1), 0}}) < 1e-12);
}

TEST_CASE("gspo_token at a kink: a row's ratio equal to its bound is not clipped") {
    const double up = 0.5, down = -0.5;
    const gspo_token loss{.clip_low = 1 - std::exp(down), .clip_high = std::exp(up) - 1};
    REQUIRE(1 + loss.clip_high == std::exp(up));
    REQUIRE(1 - loss.clip_low == std::exp(down));
    REQUIRE(run_token(loss, up, 0, 1).gradient[0][0] == -std::exp(up));
    REQUIRE(run_token(loss, down, 0, -1).gradient[0][0] == std::exp(down));
    REQUIRE(run_token(loss, up + 1e-12, 0, 1).gradient[0][0] == 0);
    REQUIRE(run_token(loss, down - 1e-12, 0, -1).gradient[0][0] == 0);
}

TEST_CASE("trap 2: gspo_token holds the mean log-ratio within +-20, without a gradient outside") {
    const double e20 = std::exp(20.0);
    for (const double far : {21.0, 200.0, 1e4}) {
        REQUIRE(gap(run_token(gspo_token{}, far, 0, -1).loss, e20) < 1e-12 * e20);
        REQUIRE(run_token(gspo_token{}, far, 0, -1).gradient[0][0] == 0);
        REQUIRE(gap(run_token(gspo_token{}, -far, 0, 1).loss, -1 / e20) < 1e-20);
        REQUIRE(run_token(gspo_token{}, -far, 0, 1).gradient[0][0] == 0);
    }
    REQUIRE(gap(run_token(gspo_token{}, 20, 0, -1).gradient[0][0], e20) < 1e-12 * e20);
    // Far tokens that cancel leave the row where it is.
    const policy_case c{.log_prob = {{200, -200}}, .old_log_prob = {{0, 0}}, .advantage = {{1, -1}}, .weight = {1}};
    REQUIRE(gap(run(gspo_token{}, c).gradient, table{{-1, 1}}) < 1e-12);
}

TEST_CASE("trap 31: gspo_token learns nothing where the advantage is 0") {
    for (const double d : {-200.0, -1.0, 0.0, 1.0, 200.0}) {
        REQUIRE(run_token(gspo_token{}, d, 0, 0).loss == 0);
        REQUIRE(run_token(gspo_token{}, d, 0, 0).gradient[0][0] == 0);
    }
}

TEST_CASE("gspo_token lets one unmasked NaN spoil its row, and no other") {
    const policy_case c{.log_prob = {{not_a_number, -1}, {-1, -1}},
                        .old_log_prob = {{-1, -1}, {-1, -1}},
                        .advantage = {{1, 1}, {1, 1}},
                        .weight = {1, 1}};
    const policy_result r = run(gspo_token{}, c);
    REQUIRE(std::isnan(r.loss));
    REQUIRE(std::isnan(r.gradient[0][0]));
    REQUIRE(std::isnan(r.gradient[0][1]));
    REQUIRE(r.gradient[1] == std::vector<double>{-1, -1});
}

TEST_CASE("gspo_token refuses options out of range by name") {
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(gspo_token{.clip_low = x}, "gspo_token", "clip_low"));
    for (const double x : {-0.1, not_a_number}) REQUIRE(refuses(gspo_token{.clip_high = x}, "gspo_token", "clip_high"));
    REQUIRE_NOTHROW(gspo_token{.clip_low = 0, .clip_high = infinity}.check());
    REQUIRE(run_token(gspo_token{.clip_low = 0, .clip_high = infinity}, 1, 0, -1).loss == std::exp(1.0));
    REQUIRE_THROWS_AS(run_token(gspo_token{.clip_low = 1}, 0, 0, 1), rlgaf::option_error);
}
