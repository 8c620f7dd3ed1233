#include "rlgaf/policy_gradient/importance.hpp"
#include "rlgaf/policy_gradient/kl.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/policy_gradient/rejection.hpp"
#include "support/factor_checks.hpp"

using namespace rlgaf_test;
using rlgaf::importance_level;
using rlgaf::importance_rule;
using rlgaf::importance_weights;

namespace {
const std::vector<std::string> needs = {"old_log_prob", "behaviour_log_prob"};

importance_weights random_options(dice& d) {
    constexpr importance_level levels[] = {importance_level::token, importance_level::sequence,
                                           importance_level::geometric};
    importance_weights o{.level = levels[d.below(3)],
                         .rule = d.chance(0.5) ? importance_rule::truncate : importance_rule::mask};
    o.low = d.chance(0.5) ? 0 : d.uniform(0, 1);
    o.high = d.chance(0.2) ? infinity : d.uniform(1, 4);
    o.batch_normalize = d.chance(0.3);
    return o;
}
double held(double d) { return std::fmin(std::fmax(d, -20), 20); }

/// The ratio of each token from the definitions, before the rule.
table ratios(const importance_weights& o, const factor_case& c) {
    return table_like(c.factor, [&](auto b, auto t) {
        const auto d = [&](std::size_t s) { return c.old_log_prob[b][s] - c.behaviour_log_prob[b][s]; };
        if (o.level == importance_level::token) return std::exp(held(d(t)));
        double sum = 0, tokens = 0;
        for (std::size_t s = 0; s < c.factor[b].size(); ++s)
            if (included(c.mask, b, s)) sum += d(s), tokens += 1;
        return std::exp(held(o.level == importance_level::sequence ? sum : sum / tokens));
    });
}
/// One weight a token, or one a row with a token.
std::vector<double> units(const importance_weights& o, const factor_case& c, const table& x) {
    std::vector<double> out;
    for (std::size_t b = 0; b < x.size(); ++b)
        for (std::size_t t = 0; t < x[b].size(); ++t)
            if (included(c.mask, b, t)) {
                out.push_back(x[b][t]);
                if (o.level != importance_level::token) break;
            }
    return out;
}
table bounded(const importance_weights& o, const factor_case& c) {
    table q = ratios(o, c);
    for (auto& row : q)
        for (double& x : row) {
            const double inside = std::fmin(std::fmax(x, o.low), o.high);
            x = o.rule == importance_rule::truncate ? inside : x == inside ? x : 0;
        }
    return q;
}
double mean_of(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    return x.empty() ? 0 : sum / static_cast<double>(x.size());
}
}  // namespace

TEST_CASE("importance_weights agree with their definitions on random cases, and with the rules of every component") {
    check_factor("importance_weights", needs, random_options, [](const importance_weights& o, const factor_case& c) {
        table w = bounded(o, c);
        const double mean = mean_of(units(o, c, w));
        if (o.batch_normalize && mean > 0)
            for (auto& row : w)
                for (double& x : row) x /= mean;
        return w;
    });
}

TEST_CASE("importance_weights' statistics agree with their definitions") {
    dice d(25);
    for (int i = 0; i < 2000; ++i) {
        const importance_weights o = random_options(d);
        const factor_case c = random_factor_case(d, needs);
        const rlgaf::importance_stats s = stats_of(o, c);
        const std::vector<double> w = units(o, c, bounded(o, c)), q = units(o, c, ratios(o, c));
        if (w.empty()) {
            REQUIRE(s.mean + s.min + s.max + s.ess_fraction + s.out_of_bounds == 0);
            continue;
        }
        double least = infinity, most = 0, outside = 0, sum = 0, squares = 0;
        for (const double x : w) least = std::fmin(least, x), most = std::fmax(most, x), sum += x, squares += x * x;
        for (const double x : q) outside += x < o.low || x > o.high;
        REQUIRE(gap(s.mean, mean_of(w)) < 1e-9 * (1 + most));
        REQUIRE(gap(s.min, least) < 1e-9 * (1 + least));
        REQUIRE(gap(s.max, most) < 1e-9 * (1 + most));
        REQUIRE(gap(s.ess_fraction, squares > 0 ? sum * sum / squares / static_cast<double>(w.size()) : 0) < 1e-9);
        REQUIRE(gap(s.out_of_bounds, outside / static_cast<double>(q.size())) < 1e-12);
    }
}

TEST_CASE("importance_weights by hand: four rules on ratios 4, 1 and 1/4") {
    const double l4 = std::log(4.0);
    const factor_case c = one_row({-1, -1, -1}, {-1 - l4, -1, -1 + l4});
    const auto weights = [&](importance_weights o) { return run(o, c)[0]; };
    using vector = std::vector<double>;
    REQUIRE(gap(weights({}), vector{2, 1, 0.25}) < 1e-15);  // TIS
    REQUIRE(gap(weights({.low = 0.5, .high = 3}), vector{3, 1, 0.5}) < 1e-15);
    REQUIRE(gap(weights({.rule = importance_rule::mask, .low = 0.5, .high = 5}), vector{4, 1, 0}) < 1e-15);  // IcePop
    REQUIRE(gap(weights({.level = importance_level::sequence}), vector{1, 1, 1}) < 1e-15);
    const factor_case up = one_row({-1, -1, -1}, {-1 - l4, -1, -1});
    REQUIRE(gap(run(importance_weights{.level = importance_level::sequence, .high = 3}, up)[0], vector{3, 3, 3}) <
            1e-15);
    REQUIRE(gap(run(importance_weights{.level = importance_level::sequence, .rule = importance_rule::mask, .high = 3},
                    up)[0],
                vector{0, 0, 0}) < 1e-15);
    const double root = std::exp(l4 / 3);
    REQUIRE(gap(run(importance_weights{.level = importance_level::geometric}, up)[0], vector{root, root, root}) <
            1e-14);
    REQUIRE(gap(weights({.high = 4, .batch_normalize = true}), vector{4 / 1.75, 1 / 1.75, 0.25 / 1.75}) < 1e-14);
}

TEST_CASE("importance_weights at a kink: a ratio equal to its bound is inside") {
    const double high = std::exp(0.5), low = std::exp(-0.5);
    const importance_weights mask{.rule = importance_rule::mask, .low = low, .high = high};
    REQUIRE(run(mask, one_row({-1, -1}, {-1.5, -0.5}))[0] == std::vector<double>{high, low});
    REQUIRE(stats_of(mask, one_row({-1, -1}, {-1.5, -0.5})).out_of_bounds == 0);
    REQUIRE(run(mask, one_row({-1, -1}, {-1.5 - 1e-9, -0.5 + 1e-9}))[0] == std::vector<double>{0, 0});
}

TEST_CASE("Trap: sums of log-ratios over long rows are held within +-20 too") {
    const std::size_t n = 1000;
    const std::vector<double> zero(n, -1.0), shifted(n, -1.5);  // 500 nats over the row, half a nat a token
    const importance_weights sequence{.level = importance_level::sequence, .high = infinity};
    REQUIRE(gap(run(sequence, one_row(zero, shifted))[0][0], std::exp(20.0)) < 1e-6);
    REQUIRE(gap(run(sequence, one_row(shifted, zero))[0][n - 1], std::exp(-20.0)) < 1e-20);
    const importance_weights geometric{.level = importance_level::geometric, .high = infinity};
    REQUIRE(gap(run(geometric, one_row(zero, shifted))[0][0], std::exp(0.5)) < 1e-12);
    for (const double far : {200.0, 1e4, infinity}) {
        const importance_weights token{.high = infinity};
        REQUIRE(gap(run(token, one_row({0}, {-far}))[0][0], std::exp(20.0)) < 1e-6);
        REQUIRE(gap(run(token, one_row({-far}, {0}))[0][0], std::exp(-20.0)) < 1e-20);
        REQUIRE(std::isfinite(stats_of(sequence, one_row({0, 0}, {-far, -far})).mismatch.chi2_sequence));
    }
}

TEST_CASE("importance_weights let NaN show in what is not masked") {
    for (const importance_rule rule : {importance_rule::truncate, importance_rule::mask})
        for (const importance_level level :
             {importance_level::token, importance_level::sequence, importance_level::geometric})
            REQUIRE(
                std::isnan(run(importance_weights{.level = level, .rule = rule}, one_row({not_a_number}, {0}))[0][0]));
}

TEST_CASE("batch_normalize gives weights of mean 1, by token or by row, and leaves nothing but zeros alone") {
    dice d(26);
    for (int i = 0; i < 500; ++i) {
        importance_weights o = random_options(d);
        o.batch_normalize = true;
        factor_case c = random_factor_case(d, needs);
        for (auto& row : c.factor)
            for (double& x : row) x = 1;
        const std::vector<double> w = units(o, c, run(o, c));
        const bool all_masked = stats_of(o, c).mean == 0;
        REQUIRE(gap(mean_of(w), all_masked ? 0 : 1) < 1e-9);
    }
    const importance_weights none{.rule = importance_rule::mask, .low = 1.5, .high = 2, .batch_normalize = true};
    REQUIRE(run(none, one_row({0, 0}, {0, 0}))[0] == std::vector<double>{0, 0});
}

TEST_CASE("OpenRLHF's seq-mask-tis is a rejection of rows and then token weights without a bound") {
    dice d(27);
    const double low = 0.9, high = 1.1;
    for (int i = 0; i < 300; ++i) {
        factor_case c = random_factor_case(d, needs);
        const table before = c.factor;
        c.factor = run(rlgaf::rejection{.low = low, .high = high}, c);
        const table after = run(importance_weights{.high = infinity}, c);
        for (std::size_t b = 0; b < before.size(); ++b) {
            double sum = 0, tokens = 0;
            for (std::size_t t = 0; t < before[b].size(); ++t)
                if (included(c.mask, b, t)) sum += c.old_log_prob[b][t] - c.behaviour_log_prob[b][t], tokens += 1;
            const double mean = std::exp(sum / tokens);
            for (std::size_t t = 0; t < before[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double q = std::exp(held(c.old_log_prob[b][t] - c.behaviour_log_prob[b][t]));
                const double expected = mean >= low && mean <= high ? before[b][t] * q : 0;
                REQUIRE(gap(after[b][t], expected) < 1e-9 * (1 + expected));
            }
        }
    }
}

TEST_CASE("The mismatch of sampler and trainer agrees with its definitions") {
    dice d(28);
    for (int i = 0; i < 1500; ++i) {
        const factor_case c = random_factor_case(d, needs);
        factor_arrays<double> arrays(c, layouts[i % 2]);
        const rlgaf::factor_terms<double> x = arrays.terms();
        const rlgaf::sampling_mismatch m = rlgaf::measure_mismatch(x.old_log_prob, x.behaviour_log_prob, x.mask);
        std::vector<double> size, q, square, k1, k3, rows, perplexity, behaviour, difference, ratio;
        for (std::size_t b = 0; b < c.factor.size(); ++b) {
            double sum = 0, tokens = 0, old = 0, mu = 0;
            for (std::size_t t = 0; t < c.factor[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double l = c.old_log_prob[b][t] - c.behaviour_log_prob[b][t], r = std::exp(held(l));
                size.push_back(std::abs(l)), q.push_back(r), square.push_back(r * r);
                k1.push_back(-l), k3.push_back(r - 1 - held(l));
                sum += l, tokens += 1, old += c.old_log_prob[b][t], mu += c.behaviour_log_prob[b][t];
            }
            if (tokens == 0) continue;
            rows.push_back(std::exp(2 * held(sum)));
            perplexity.push_back(std::exp(-old / tokens)), behaviour.push_back(std::exp(-mu / tokens));
            difference.push_back(mu / tokens - old / tokens), ratio.push_back(std::exp(held(-sum / tokens)));
        }
        REQUIRE(m.tokens == static_cast<double>(q.size()));
        REQUIRE(m.rows == static_cast<double>(rows.size()));
        if (q.empty()) {
            for (const double v : {m.mean, m.max, m.ratio_mean, m.ess_fraction, m.chi2_token, m.chi2_sequence, m.kl_k3,
                                   m.perplexity_ratio})
                REQUIRE(std::isnan(v));
            continue;
        }
        const auto close = [](double a, double b) { return gap(a, b) < 1e-9 * (1 + std::abs(b)); };
        double largest = 0, least = infinity, most = 0;
        for (const double v : size) largest = std::fmax(largest, v);
        for (const double v : q) least = std::fmin(least, v), most = std::fmax(most, v);
        REQUIRE(close(m.mean, mean_of(size)));
        REQUIRE(m.max == largest);
        REQUIRE(close(m.ratio_min, least));
        REQUIRE(close(m.ratio_max, most));
        REQUIRE(close(m.ratio_mean, mean_of(q)));
        REQUIRE(close(m.ess_fraction, mean_of(q) * mean_of(q) / mean_of(square)));
        REQUIRE(close(m.chi2_token, mean_of(square) - 1));
        REQUIRE(close(m.chi2_sequence, mean_of(rows) - 1));
        REQUIRE(close(m.kl_k1, mean_of(k1)));
        bool near = true;  // k3 is held at 20 from above only
        for (const double v : k1) near = near && v < 20;
        if (near) REQUIRE(close(m.kl_k3, mean_of(k3)));
        REQUIRE(close(m.perplexity, mean_of(perplexity)));
        REQUIRE(close(m.behaviour_perplexity, mean_of(behaviour)));
        REQUIRE(close(m.log_perplexity_difference, mean_of(difference)));
        REQUIRE(close(m.perplexity_ratio, mean_of(ratio)));
    }
}

TEST_CASE("No mismatch: ratio 1, effective sample 1, chi2 and KL 0") {
    const factor_case c = one_row({-1, -2}, {-1, -2});
    const rlgaf::sampling_mismatch m = stats_of(importance_weights{}, c).mismatch;
    for (const double v : {m.mean, m.max, m.chi2_token, m.chi2_sequence, m.kl_k1, m.kl_k3, m.log_perplexity_difference})
        REQUIRE(v == 0);
    for (const double v : {m.ratio_min, m.ratio_mean, m.ratio_max, m.ess_fraction, m.perplexity_ratio}) REQUIRE(v == 1);
    REQUIRE(gap(m.perplexity, std::exp(1.5)) < 1e-15);
}

TEST_CASE("measure_mismatch names the array of another shape, takes floats and allocates nothing") {
    ragged<float> a({{-1, -2}}, layout::padded, 0.0f), b({{-1}}, layout::padded, 0.0f);
    ragged<std::uint8_t> mask({{1}}, layout::padded, 1);
    const rlgaf::ragged_view<const float> x = a.view(), y = b.view();
    REQUIRE(message_of<rlgaf::shape_error>([&] { rlgaf::measure_mismatch(x, y, {}); }) ==
            "rlgaf::measure_mismatch: behaviour_log_prob row 0: expected 2 tokens, got 1");
    REQUIRE(message_of<rlgaf::shape_error>([&] { rlgaf::measure_mismatch(x, x, mask.view()); }) ==
            "rlgaf::measure_mismatch: mask row 0: expected 2 tokens, got 1");
    REQUIRE(allocations_of([&] { rlgaf::measure_mismatch(x, x, {}); }) == 0);
}

TEST_CASE("Trap: weights act on the policy term only; KL still acts on a token that is masked, and no count changes") {
    const factor_case c = one_row({-1, -1}, {-1, -5});  // the second token's ratio is e^4
    factor_arrays<double> arrays(c, layout::packed);
    rlgaf::workspace work;
    importance_weights{.rule = importance_rule::mask}(arrays.terms(), work, arrays.factor.view());
    ragged<double> log_prob({{-1, -1}}, layout::packed, 0.0), advantage({{1, 1}}, layout::packed, 0.0),
        reference({{-2, -2}}, layout::packed, 0.0), d({{0, 0}}, layout::packed, 0.0), e({{0, 0}}, layout::packed, 0.0);
    const double weight[] = {0.5};
    const rlgaf::policy_terms<double> terms{.log_prob = log_prob.view(),
                                            .old_log_prob = arrays.old_log_prob.view(),
                                            .advantage = advantage.view(),
                                            .reference_log_prob = reference.view(),
                                            .token_factor = arrays.factor.view()};
    REQUIRE(rlgaf::ppo_clip{}(terms, weight, d.view()).tokens == 2);
    REQUIRE(gap(d.rows(), table{{-0.5, 0}}) < 1e-15);
    rlgaf::kl_loss{.beta = 1}(terms, weight, e.view());
    REQUIRE(gap(e.rows(), table{{0.5, 0.5}}) < 1e-15);
}

TEST_CASE("importance_weights refuse options out of range by name") {
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(importance_weights{.low = x}, "importance_weights", "low"));
    for (const double x : {-0.1, 0.0, 0.4, not_a_number})
        REQUIRE(refuses(importance_weights{.low = 0.5, .high = x}, "importance_weights", "high"));
    REQUIRE(refuses(importance_weights{.high = 0}, "importance_weights", "high"));
    REQUIRE_NOTHROW(importance_weights{.low = 1, .high = 1}.check());
    REQUIRE_NOTHROW(importance_weights{.high = infinity}.check());
    REQUIRE_THROWS_AS(run(importance_weights{.high = -1}, one_row({0}, {0})), rlgaf::option_error);
}
