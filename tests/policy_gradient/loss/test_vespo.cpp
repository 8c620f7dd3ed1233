#include "policy_gradient/loss/row_reference.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "rlgaf/policy_gradient/loss/topr.hpp"
#include "rlgaf/policy_gradient/loss/vespo.hpp"

using namespace rlgaf_test;
using rlgaf::topr;
using rlgaf::vespo;

namespace {
policy_loss_traits traits(const char* function) {
    return {.function = function, .needs = {"old_log_prob", "advantage"}};
}

vespo random_vespo(dice& d) {
    if (d.chance(0.2)) return {};
    return {.k_positive = d.chance(0.1) ? 0 : d.uniform(0, 4),
            .lambda_positive = d.uniform(0.5, 4),
            .k_negative = d.chance(0.1) ? 0 : d.uniform(0, 4),
            .lambda_negative = d.uniform(0.5, 4)};
}
topr random_topr(dice&) { return {}; }

double kernel(const vespo& o, double w, bool loses) {
    const double k = loses ? o.k_negative : o.k_positive, lambda = loses ? o.lambda_negative : o.lambda_positive;
    return std::pow(w, k) * std::exp(lambda * (1 - w));
}
double kernel(const topr&, double w, bool loses) { return loses ? std::fmin(w, 1) : 1; }

/// The definition: row weights from the whole ratio, token by token.
template <class Make>
void check_definition(const char* name, Make&& make) {
    dice d(2602);
    double rows = 0, with_both_signs = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const auto o = make(d);
        const policy_case c = i % 5 == 0 ? long_rows(d, traits(name)) : random_policy_case(d, traits(name));
        table gradient = zeros(c.log_prob);
        double loss = 0, size = 1, tokens = 0, largest = 0, kl = 0;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b) {
            double sum = 0, n = 0, positive = 0, negative = 0;
            for (const double x : tokens_of_row(c, b).log_ratio) {
                const double held = held_within(x, -20, 20);
                sum += held, n += 1, kl += std::expm1(held) - held;
            }
            const double w = std::exp(held_within(sum, -20, 20));
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                if (!included(c.mask, b, t)) continue;
                const double a = c.advantage[b][t], f = c.token_factor.empty() ? 1 : c.token_factor[b][t];
                gradient[b][t] = -c.weight[b] * f * a * kernel(o, w, a < 0);
                loss += gradient[b][t] * c.log_prob[b][t];
                size += std::abs(gradient[b][t] * c.log_prob[b][t]);
                positive += a > 0, negative += a < 0;
            }
            rows += n > 0, with_both_signs += positive > 0 && negative > 0, tokens += n;
            if (n > 0) largest = std::fmax(largest, w);
        }
        policy_arrays<double> arrays(c, layout::packed);
        ragged<double> found(zeros(c.log_prob), layout::packed, 0.0);
        const auto stats = o(arrays.terms(), std::span<const double>(arrays.weight), found.view());
        REQUIRE(gap(stats.loss, loss) < 1e-10 * size);
        REQUIRE(gap(found.rows(), gradient) < 1e-10);
        REQUIRE(stats.tokens == tokens);
        REQUIRE(stats.clipped_low + stats.clipped_high + stats.clipped_dual == 0);
        REQUIRE(gap(stats.ratio_max, largest) < 1e-11 * (1 + largest));
        REQUIRE(gap(stats.kl_old, kl) < 1e-11 * (1 + kl));
    }
    REQUIRE(rows > 5000);
    REQUIRE(with_both_signs > 1000);
}

/// phi of a row of one token, from its gradient.
template <class Loss>
double phi(const Loss& loss, double log_ratio, double advantage) {
    return -run(loss, even_row(1, log_ratio, advantage)).gradient[0][0] / advantage;
}
}  // namespace

TEST_CASE("vespo keeps the promises of a policy loss") {
    check_detached_policy_loss(traits("vespo"), random_vespo);
    check_long_rows(traits("vespo"), random_vespo);
}
TEST_CASE("topr keeps the promises of a policy loss") {
    check_detached_policy_loss(traits("topr"), random_topr);
    check_long_rows(traits("topr"), random_topr);
}

TEST_CASE("vespo weighs every row with its kernel of the whole ratio") { check_definition("vespo", random_vespo); }
TEST_CASE("topr weighs rows that did badly with their ratio up to 1") { check_definition("topr", random_topr); }

TEST_CASE("vespo's kernel: the formula sheet's golden vectors") {
    REQUIRE(gap(phi(vespo{}, std::log(0.5), 1), 1.120422) < 1e-6);
    REQUIRE(gap(phi(vespo{}, std::log(2), 1), 0.199148) < 1e-6);
    REQUIRE(gap(phi(vespo{}, std::log(0.5), -1), 0.339785) < 1e-6);
    REQUIRE(gap(phi(vespo{}, std::log(2), -1), 1.082682) < 1e-6);
    // The whole row's ratio, on each of its tokens.
    const table g = run(vespo{}, even_row(4, std::log(2) / 4, -1)).gradient;
    REQUIRE(gap(g, table{{1.082682, 1.082682, 1.082682, 1.082682}}) < 1e-6);
}

TEST_CASE("vespo's kernel is 1 on the policy itself and largest at k / lambda") {
    const vespo o{};
    REQUIRE(phi(o, 0, 1) == 1);
    REQUIRE(phi(o, 0, -1) == 1);
    for (const double side : {-1e-3, 1e-3}) {
        REQUIRE(phi(o, std::log(2.0 / 3), 1) > phi(o, std::log(2.0 / 3) + side, 1));
        REQUIRE(phi(o, std::log(3.0 / 2), -1) > phi(o, std::log(3.0 / 2) + side, -1));
    }
}

TEST_CASE("topr learns from good rows of any age and leaves bad ones alone that the policy no longer says") {
    for (const double x : {-200.0, -3.0, 0.0, 3.0, 200.0}) REQUIRE(phi(topr{}, x, 0.5) == 1);
    REQUIRE(phi(topr{}, 3, -2) == 1);
    REQUIRE(phi(topr{}, 0, -2) == 1);
    REQUIRE(gap(phi(topr{}, -3, -2), std::exp(-3.0)) < 1e-15);
    const table g = run(topr{}, even_row(3, -1, -1)).gradient;  // the whole row's ratio
    REQUIRE(gap(g, table{{std::exp(-3.0), std::exp(-3.0), std::exp(-3.0)}}) < 1e-15);
}

TEST_CASE("vespo and topr on the policy's own samples are the plain policy gradient") {
    dice d(5);
    for (int i = 0; i < 200; ++i) {
        policy_case c = random_policy_case(d, traits("vespo"));
        c.old_log_prob = c.log_prob;
        const policy_result plain = run(rlgaf::policy_gradient_loss{}, c);
        REQUIRE(gap(run(vespo{}, c).gradient, plain.gradient) < 1e-14);
        REQUIRE(same_bits(run(topr{}, c).gradient, plain.gradient));
        REQUIRE(gap(run(topr{}, c).loss, plain.loss) < 1e-13);
    }
}

TEST_CASE("trap 1 and 2: vespo and topr hold log-ratios and their sum within +-20") {
    const double least = std::exp(-20.0);
    for (const std::size_t n : {std::size_t{1}, std::size_t{1000}}) {
        for (const double far : {200.0, 1e4}) {
            const auto slope = [&](const auto& loss, double x, double a) {
                return run<float>(loss, even_row(n, x / static_cast<double>(n), a)).gradient[0][0];
            };
            REQUIRE(slope(vespo{}, far, 1) == 0);  // exp(-3 exp(20)) of it
            REQUIRE(slope(vespo{}, far, -1) == 0);
            REQUIRE(gap(slope(vespo{}, -far, 1), -least * least * std::exp(3.0)) < 1e-20);
            REQUIRE(gap(slope(vespo{}, -far, -1), least * least * least * std::exp(2.0)) < 1e-30);
            REQUIRE(slope(topr{}, far, -1) == 1);
            REQUIRE(gap(slope(topr{}, -far, -1), least) < 1e-15);
            REQUIRE(slope(topr{}, -far, 1) == -1);
        }
    }
    // Tokens are held one by one before: a lost one does not hide what the others say.
    policy_case c = even_row(20, 1, -1);
    c.log_prob[0][0] -= 300;
    REQUIRE(gap(run(topr{}, c).gradient[0][1], std::exp(-1.0)) < 1e-12);
}

TEST_CASE("trap 8 and 36: rows without unmasked tokens change nothing in vespo and topr") {
    check_empty_rows(vespo{}, traits("vespo"));
    check_empty_rows(topr{}, traits("topr"));
}

TEST_CASE("trap 31: an advantage of 0 has no loss and no gradient in vespo and topr; it is with the positive ones") {
    for (const double x : {-200.0, -1.0, 0.0, 1.0, 200.0}) {
        const auto check = [&](const auto& loss) {
            for (const double zero : {0.0, -0.0}) {
                REQUIRE(run(loss, even_row(2, x, zero)).loss == 0);
                REQUIRE(run(loss, even_row(2, x, zero)).gradient == table{{0, 0}});
            }
        };
        check(vespo{});
        check(topr{});
    }
    // So its kernel is the one that would be finite here.
    const vespo wild{.k_negative = 100, .lambda_negative = 1e-9};
    REQUIRE(run(wild, even_row(1, 20, 0)).gradient[0][0] == 0);
    REQUIRE(std::isinf(run(wild, even_row(1, 20, -1)).gradient[0][0]));
}

TEST_CASE("vespo and topr let NaN show in what is not masked") {
    const auto check = [](const auto& loss) {
        for (const char* name : {"log_prob", "old_log_prob", "advantage"}) {
            policy_case c = even_row(200, 0.0001, -1);
            c[name][0][150] = not_a_number;
            const policy_result r = run(loss, c);
            REQUIRE(std::isnan(r.loss));
            REQUIRE(std::isnan(r.gradient[0][150]));
            REQUIRE(std::isnan(r.gradient[0][0]) == (name[0] != 'a'));  // the ratio is the row's, the advantage is not
        }
    };
    check(vespo{});
    check(topr{});
}

TEST_CASE("vespo refuses options out of range by name") {
    for (const double x : {-0.1, infinity, -infinity, not_a_number}) {
        REQUIRE(refuses(vespo{.k_positive = x}, "vespo", "k_positive"));
        REQUIRE(refuses(vespo{.k_negative = x}, "vespo", "k_negative"));
    }
    for (const double x : {0.0, -0.1, infinity, -infinity, not_a_number}) {
        REQUIRE(refuses(vespo{.lambda_positive = x}, "vespo", "lambda_positive"));
        REQUIRE(refuses(vespo{.lambda_negative = x}, "vespo", "lambda_negative"));
    }
    REQUIRE_NOTHROW(vespo{}.check());
    REQUIRE_NOTHROW(vespo{.k_positive = 0, .k_negative = 0}.check());
    REQUIRE_THROWS_AS(run_token(vespo{.lambda_positive = 0}, 0, 0, 1), rlgaf::option_error);
}
