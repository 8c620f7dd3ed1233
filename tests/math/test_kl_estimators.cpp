#include "rlgaf/math/categorical.hpp"
#include "rlgaf/math/kl_estimators.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::estimate_kl;
using rlgaf::kl_estimator;

namespace {
constexpr kl_estimator all[] = {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3};
constexpr kl_estimator plus[] = {kl_estimator::k1_plus, kl_estimator::k3_plus};
using vector = std::vector<double>;
}  // namespace

TEST_CASE("k1, k2, k3 on three tokens: the formula sheet's golden vectors") {
    const double log_prob[] = {-0.7, -2.4, -0.5}, reference[] = {-1.2, -1.9, -0.4};
    const double value[3][3] = {{0.5, -0.5, -0.1}, {0.125, 0.125, 0.005}, {0.106531, 0.148721, 0.005171}};
    const double slopes[3][3] = {{1, 1, 1}, {0.5, -0.5, -0.1}, {0.393469, -0.648721, -0.105171}};
    for (std::size_t k = 0; k < 3; ++k)
        for (std::size_t t = 0; t < 3; ++t) {
            REQUIRE(gap(estimate_kl(all[k], log_prob[t], reference[t]).value, value[k][t]) < 1e-6);
            REQUIRE(gap(estimate_kl(all[k], log_prob[t], reference[t]).d_log_prob, slopes[k][t]) < 1e-6);
        }
}

TEST_CASE("The derivatives of the KL estimators agree with finite differences") {
    dice d(8);
    for (int i = 0; i < 5000; ++i) {
        double log_prob = d.uniform(-6, 0);
        const double reference = log_prob + (d.chance(0.1) ? d.uniform(-30, 8) : d.normal());
        for (const kl_estimator k : all) {
            const double expected = slope([&] { return estimate_kl(k, log_prob, reference).value; }, log_prob);
            REQUIRE(gap(estimate_kl(k, log_prob, reference).d_log_prob, expected) < 1e-6 * (1 + std::abs(expected)));
        }
    }
}

TEST_CASE("k3 near equality keeps its digits and its sign") {
    for (const double u : {1e-3, -1e-3, 1e-6, -1e-6, 1e-9, -1e-9}) {
        const rlgaf::kl_term kl = estimate_kl(kl_estimator::k3, 0, u);
        REQUIRE(kl.value > 0);
        REQUIRE(gap(kl.value / (u * u / 2), 1) < 1e-3);
        REQUIRE(gap(kl.d_log_prob / -u, 1) < 1e-3);
    }
    for (const kl_estimator k : all) REQUIRE(estimate_kl(k, -1.5, -1.5).value == 0);
}

TEST_CASE("Trap: exp(u) - 1 - u in the plain form has no digits left at u = 1e-8, k3 has all of them") {
    const double u = 1e-8;
    REQUIRE(gap((std::exp(u) - 1 - u) / (u * u / 2), 1) > 0.1);
    REQUIRE(gap(estimate_kl(kl_estimator::k3, -1, -1 + u).value / (u * u / 2), 1) < 1e-7);
}

TEST_CASE("abs: |u| with gradient -sign(u), and none at u = 0") {
    for (const double u : {0.5, 3.0, 200.0}) {
        REQUIRE(estimate_kl(kl_estimator::abs, 0, u).value == u);
        REQUIRE(estimate_kl(kl_estimator::abs, 0, u).d_log_prob == -1);
        REQUIRE(estimate_kl(kl_estimator::abs, 0, -u).value == u);
        REQUIRE(estimate_kl(kl_estimator::abs, 0, -u).d_log_prob == 1);
    }
    REQUIRE(estimate_kl(kl_estimator::abs, -2, -2).value == 0);
    REQUIRE(estimate_kl(kl_estimator::abs, -2, -2).d_log_prob == 0);
}

TEST_CASE("Trap: k1_plus and k3_plus do not fail as they once did in verl; they have the value of k1 and k3 and the gradient of k2") {
    dice d(31);
    for (int i = 0; i < 3000; ++i) {
        const double l = d.uniform(-6, 0), r = l + (d.chance(0.2) ? d.uniform(-200, 200) : d.normal());
        const double slope = estimate_kl(kl_estimator::k2, l, r).d_log_prob;
        REQUIRE(same_bits(estimate_kl(kl_estimator::k1_plus, l, r).value, estimate_kl(kl_estimator::k1, l, r).value));
        REQUIRE(same_bits(estimate_kl(kl_estimator::k3_plus, l, r).value, estimate_kl(kl_estimator::k3, l, r).value));
        for (const kl_estimator k : plus) REQUIRE(same_bits(estimate_kl(k, l, r).d_log_prob, slope));
    }
}

TEST_CASE("Every KL estimator lets NaN show") {
    for (const kl_estimator k : {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3, kl_estimator::abs,
                                 kl_estimator::k1_plus, kl_estimator::k3_plus}) {
        REQUIRE(std::isnan(estimate_kl(k, not_a_number, -1).value));
        if (k != kl_estimator::k1) REQUIRE(std::isnan(estimate_kl(k, not_a_number, -1).d_log_prob));
    }
}

TEST_CASE("k3 is constant above u = 20, and still has a gradient at 20") {
    const double largest = std::exp(20.0) - 21;
    REQUIRE(gap(estimate_kl(kl_estimator::k3, 0, 20).value, largest) < 1e-6);
    REQUIRE(gap(estimate_kl(kl_estimator::k3, 0, 20).d_log_prob, 1 - std::exp(20.0)) < 1e-6);
    REQUIRE(gap(estimate_kl(kl_estimator::k3, 0, 200).value, largest) < 1e-6);
    REQUIRE(estimate_kl(kl_estimator::k3, 0, 200).d_log_prob == 0);
    REQUIRE(gap(estimate_kl(kl_estimator::k3, 0, -200).value, 199) < 1e-12);
    REQUIRE(gap(estimate_kl(kl_estimator::k3, 0, -200).d_log_prob, 1) < 1e-12);
    REQUIRE(estimate_kl(kl_estimator::k1, 0, 200).value == -200);
    REQUIRE(estimate_kl(kl_estimator::k2, 0, 200).value == 20000);
}

TEST_CASE(
    "Expected values and gradients over a categorical: E[d k1] = 0, E[d k2] of KL(pi||ref), E[d k3] of KL(ref||pi)") {
    dice d(2506);
    for (int i = 0; i < 200; ++i) {
        const std::size_t size = 2 + d.below(5);
        vector logit(size), other(size), log_p(size), log_q(size);
        for (std::size_t v = 0; v < size; ++v) logit[v] = d.normal(), other[v] = d.normal();
        rlgaf::log_softmax(std::span<const double>(logit), 1.0, std::span<double>(log_p));
        rlgaf::log_softmax(std::span<const double>(other), 1.0, std::span<double>(log_q));
        double forward = 0, reverse = 0, mean[3] = {0, 0, 0};  // KL(pi || ref), KL(ref || pi)
        for (std::size_t v = 0; v < size; ++v) {
            forward += std::exp(log_p[v]) * (log_p[v] - log_q[v]);
            reverse += std::exp(log_q[v]) * (log_q[v] - log_p[v]);
        }
        vector gradient[3] = {vector(size), vector(size), vector(size)}, straight(size);
        for (std::size_t a = 0; a < size; ++a)
            for (std::size_t k = 0; k < 3; ++k) {
                const rlgaf::kl_term kl = estimate_kl(all[k], log_p[a], log_q[a]);
                mean[k] += std::exp(log_p[a]) * kl.value;
                for (std::size_t v = 0; v < size; ++v)  // d log_prob[a] / d logit[v]
                    gradient[k][v] += std::exp(log_p[a]) * kl.d_log_prob * ((v == a) - std::exp(log_p[v]));
            }
        double unbiased = 0;
        for (std::size_t a = 0; a < size; ++a) {
            const rlgaf::kl_term kl = estimate_kl(kl_estimator::k3_plus, log_p[a], log_q[a]);
            unbiased += std::exp(log_p[a]) * kl.value;
            for (std::size_t v = 0; v < size; ++v)
                straight[v] += std::exp(log_p[a]) * kl.d_log_prob * ((v == a) - std::exp(log_p[v]));
        }
        REQUIRE(gap(unbiased, forward) < 1e-14);  // k3_plus: the value is unbiased, the gradient is exact
        REQUIRE(gap(mean[0], forward) < 1e-14);
        REQUIRE(gap(mean[2], forward) < 1e-14);
        REQUIRE(gap(rlgaf::kl_divergence(std::span<const double>(log_p), std::span<const double>(log_q)), forward) <
                1e-14);
        REQUIRE(gap(rlgaf::kl_divergence(std::span<const double>(log_q), std::span<const double>(log_p)), reverse) <
                1e-14);
        for (std::size_t v = 0; v < size; ++v) {
            const double p = std::exp(log_p[v]), q = std::exp(log_q[v]);
            REQUIRE(gap(gradient[0][v], 0) < 1e-14);
            REQUIRE(gap(gradient[1][v], p * (log_p[v] - log_q[v] - forward)) < 1e-14);
            REQUIRE(gap(gradient[2][v], p - q) < 1e-14);
            REQUIRE(gap(straight[v], p * (log_p[v] - log_q[v] - forward)) < 1e-14);
        }
    }
}

namespace {
/// Two tokens of two choices each: logits of the first token, then of the second after each first.
struct two_tokens {
    double z[6];
    double log_prob(int first, int second) const { return of_first(first) + of_second(first, second); }
    double of_first(int a) const { return z[a] - std::log(std::exp(z[0]) + std::exp(z[1])); }
    double of_second(int a, int b) const {
        return z[2 + 2 * a + b] - std::log(std::exp(z[2 + 2 * a]) + std::exp(z[3 + 2 * a]));
    }
    /// d(log-prob of the token)/dz[j]
    double score_first(int a, int j) const { return j < 2 ? (j == a) - std::exp(of_first(j)) : 0; }
    double score_second(int a, int b, int j) const {
        const int k = j - 2 - 2 * a;
        return k == 0 || k == 1 ? (k == b) - std::exp(of_second(a, k)) : 0;
    }
};
double sequence_kl(const two_tokens& p, const two_tokens& q) {
    double kl = 0;
    for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b) kl += std::exp(p.log_prob(a, b)) * (p.log_prob(a, b) - q.log_prob(a, b));
    return kl;
}
}  // namespace

TEST_CASE("Over sequences, k1 in the reward gives the gradient of the KL; k2 as a loss leaves out what comes later") {
    two_tokens p{{0.3, -0.4, 1.1, 0.2, -0.7, 0.9}};
    const two_tokens q{{-0.2, 0.5, -0.3, 0.8, 0.4, -1.0}};
    double in_reward[6] = {}, as_loss[6] = {};
    for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b)
            for (int j = 0; j < 6; ++j) {
                const double weight = std::exp(p.log_prob(a, b));
                const double first = estimate_kl(kl_estimator::k1, p.of_first(a), q.of_first(a)).value;
                const double second = estimate_kl(kl_estimator::k1, p.of_second(a, b), q.of_second(a, b)).value;
                in_reward[j] += weight * (p.score_first(a, j) * (first + second) + p.score_second(a, b, j) * second);
                as_loss[j] +=
                    weight *
                    (p.score_first(a, j) * estimate_kl(kl_estimator::k2, p.of_first(a), q.of_first(a)).d_log_prob +
                     p.score_second(a, b, j) *
                         estimate_kl(kl_estimator::k2, p.of_second(a, b), q.of_second(a, b)).d_log_prob);
            }
    for (int j = 0; j < 6; ++j) {
        const double exact = slope([&] { return sequence_kl(p, q); }, p.z[j]);
        REQUIRE(gap(in_reward[j], exact) < 1e-9);
        if (j < 2)
            REQUIRE(gap(as_loss[j], exact) > 0.01);
        else
            REQUIRE(gap(as_loss[j], exact) < 1e-9);
    }
}
