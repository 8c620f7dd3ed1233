#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/policy_gradient/full_kl.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::full_kl;
using rlgaf::kl_direction;
using vector = std::vector<double>;

namespace {
constexpr kl_direction directions[] = {kl_direction::reverse, kl_direction::forward};

template <class T = double>
double run(const full_kl& kl, const std::vector<T>& z, const std::vector<T>& r, double weight, std::vector<T>* d) {
    rlgaf::workspace work;
    work.a = work.b = {1e12, 1e12, 1e12};
    return kl(std::span<const T>(z), std::span<const T>(r), weight, work, d ? std::span<T>(*d) : std::span<T>{});
}
vector softmax(const vector& z, double temperature) {
    vector p(z.size());
    double sum = 0;
    for (std::size_t j = 0; j < z.size(); ++j) sum += p[j] = std::exp(z[j] / temperature);
    for (double& x : p) x /= sum;
    return p;
}
vector random_logits(dice& d, std::size_t size) {
    vector z(size);
    for (double& x : z) x = 2 * d.normal();
    return z;
}
}  // namespace

TEST_CASE("full_kl by hand: two choices of (1/2, 1/2) against (1/4, 3/4)") {
    const vector z = {0, 0}, r = {0, std::log(3.0)};
    vector d = {10, 20};
    const double kl = 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3);
    REQUIRE(gap(run(full_kl{}, z, r, 2, &d), kl) < 1e-15);
    const double expected = 2 * 0.5 * (std::log(2.0) - kl);
    REQUIRE(gap(d, vector{10 + expected, 20 - expected}) < 1e-14);  // accumulated, times the weight

    d = {0, 0};
    REQUIRE(gap(run(full_kl{.direction = kl_direction::forward}, z, r, 2, &d),
                0.25 * std::log(0.5) + 0.75 * std::log(1.5)) < 1e-15);
    REQUIRE(gap(d, vector{2 * (0.5 - 0.25), 2 * (0.5 - 0.75)}) < 1e-15);
}

TEST_CASE("full_kl is the definition, and its gradient is the slope by every logit") {
    dice d(510);
    for (int i = 0; i < 1500; ++i) {
        const std::size_t size = 1 + d.below(8);
        const full_kl kl{.direction = directions[i % 2], .temperature = d.chance(0.3) ? 1 : d.uniform(0.4, 3)};
        vector z = random_logits(d, size);
        const vector r = random_logits(d, size), p = softmax(z, kl.temperature), q = softmax(r, kl.temperature);
        double exact = 0;
        for (std::size_t j = 0; j < size; ++j)
            exact += i % 2 == 0 ? p[j] * std::log(p[j] / q[j]) : q[j] * std::log(q[j] / p[j]);
        const double weight = d.uniform(-1, 2);
        vector gradient(size);
        REQUIRE(gap(run(kl, z, r, weight, &gradient), exact) < 1e-12);
        REQUIRE(gap(run(kl, z, r, weight, static_cast<vector*>(nullptr)), exact) < 1e-12);
        double sum = 0;
        for (std::size_t j = 0; j < size; ++j) {
            sum += gradient[j];
            const double expected =
                slope([&] { return weight * run(kl, z, r, weight, static_cast<vector*>(nullptr)); }, z[j]);
            REQUIRE(gap(gradient[j], expected) < 1e-7);
        }
        REQUIRE(gap(sum, 0) < 1e-12);  // a shift of all logits changes nothing
    }
}

TEST_CASE("full_kl is what k2 and k3 learn from in expectation: k2 reverse, k3 forward") {
    dice d(511);
    for (int i = 0; i < 200; ++i) {
        const std::size_t size = 2 + d.below(5);
        const vector z = random_logits(d, size), r = random_logits(d, size), p = softmax(z, 1), q = softmax(r, 1);
        vector reverse(size), forward(size), k2(size), k3(size);
        run(full_kl{}, z, r, 1, &reverse);
        run(full_kl{.direction = kl_direction::forward}, z, r, 1, &forward);
        for (std::size_t a = 0; a < size; ++a)
            for (std::size_t j = 0; j < size; ++j) {
                const double score = (j == a) - p[j], l = std::log(p[a]), lr = std::log(q[a]);
                k2[j] += p[a] * score * rlgaf::estimate_kl(rlgaf::kl_estimator::k2, l, lr).d_log_prob;
                k3[j] += p[a] * score * rlgaf::estimate_kl(rlgaf::kl_estimator::k3, l, lr).d_log_prob;
            }
        REQUIRE(gap(reverse, k2) < 1e-13);
        REQUIRE(gap(forward, k3) < 1e-13);
    }
}

TEST_CASE("full_kl of equal distributions is 0, shifted or not, and log-probs are logits too") {
    vector d(3);
    for (const kl_direction direction : directions) {
        REQUIRE(gap(run(full_kl{.direction = direction}, {1, 2, 3}, {101, 102, 103}, 1, &d), 0) < 1e-13);
        REQUIRE(gap(d, vector{0, 0, 0}) < 1e-13);
    }
    const vector z = {0.3, -1, 2}, r = {1, 1, -0.5};
    vector log_p, log_q;
    for (const double p : softmax(z, 1)) log_p.push_back(std::log(p));
    for (const double q : softmax(r, 1)) log_q.push_back(std::log(q));
    REQUIRE(gap(run(full_kl{}, z, r, 1, &d), run(full_kl{}, log_p, log_q, 1, &d)) < 1e-14);
}

TEST_CASE("full_kl of choices that both sides exclude, and of logits 200 and 1e4 apart") {
    vector d(3);
    for (const kl_direction direction : directions) {
        d = {0, 0, 0};
        const full_kl kl{.direction = direction};
        vector two(2);
        REQUIRE(gap(run(kl, {0, -infinity, 1}, {1, -infinity, 0}, 1, &d), run(kl, {0, 1}, {1, 0}, 1, &two)) < 1e-15);
        REQUIRE(gap(d, vector{two[0], 0, two[1]}) < 1e-15);
        for (const double far : {200.0, 1e4}) {
            d = {0, 0, 0};
            REQUIRE(gap(run(kl, {far, 0, 0}, {0, far, 0}, 1, &d), far) < 1e-9 * far);
            for (const double g : d) REQUIRE(std::isfinite(g));
            if (direction == kl_direction::forward) REQUIRE(gap(d, vector{1, -1, 0}) < 1e-12);
        }
    }
}

TEST_CASE("full_kl refuses an infinite KL, NaN, and logits without a finite one") {
    const auto message = [](const full_kl& kl, const vector& z, const vector& r) {
        vector d(z.size(), 5);
        const std::string said = message_of<rlgaf::numeric_error>([&] { run(kl, z, r, 1, &d); });
        if (said != "nothing thrown") REQUIRE(d == vector(z.size(), 5));  // nothing was added
        return said;
    };
    const full_kl reverse{}, forward{.direction = kl_direction::forward};
    REQUIRE(message(reverse, {0, 0}, {0, -infinity}) ==
            "rlgaf::full_kl: reference_logit: expected a finite one wherever the other side has one, got inf nats");
    REQUIRE(message(forward, {0, -infinity}, {0, 0}) ==
            "rlgaf::full_kl: logit: expected a finite one wherever the other side has one, got inf nats");
    REQUIRE(message(reverse, {0, -infinity}, {0, 0}) == "nothing thrown");
    REQUIRE(message(forward, {0, 0}, {0, -infinity}) == "nothing thrown");
    for (const full_kl& kl : {reverse, forward}) {
        REQUIRE(message(kl, {0, not_a_number}, {0, 0}) == "rlgaf::full_kl: logit: expected numbers, got nan");
        REQUIRE(message(kl, {0, 0}, {not_a_number, 0}) == "rlgaf::full_kl: reference_logit: expected numbers, got nan");
        REQUIRE(message(kl, {-infinity, -infinity}, {0, 0}).starts_with("rlgaf::log_softmax: logit"));
        REQUIRE(message(kl, {}, {}).starts_with("rlgaf::log_softmax: logit"));
    }
}

TEST_CASE("full_kl refuses shapes and temperatures by name") {
    vector d(2);
    const auto message = [&](const vector& z, const vector& r) {
        return message_of<rlgaf::shape_error>([&] { run(full_kl{}, z, r, 1, &d); });
    };
    REQUIRE(message({0, 0}, {0}) == "rlgaf::full_kl: reference_logit: expected 2 elements, got 1");
    REQUIRE(message({0, 0, 0}, {0, 0, 0}) == "rlgaf::full_kl: d_logit: expected 3 elements, got 2");
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(full_kl{.temperature = x}, "full_kl", "temperature"));
    REQUIRE_THROWS_AS(run(full_kl{.temperature = 0}, {0, 0}, {0, 0}, 1, &d), rlgaf::option_error);
}

TEST_CASE("full_kl on floats computes in double, casts once, and allocates nothing the second time") {
    dice d(9);
    std::vector<float> z, r;
    vector wide_z, wide_r;
    for (int j = 0; j < 50; ++j) {
        z.push_back(static_cast<float>(d.normal())), r.push_back(static_cast<float>(d.normal()));
        wide_z.push_back(static_cast<double>(z.back())), wide_r.push_back(static_cast<double>(r.back()));
    }
    std::vector<float> gradient(50);
    vector wide(50);
    REQUIRE(same_bits(run(full_kl{}, z, r, 0.7, &gradient), run(full_kl{}, wide_z, wide_r, 0.7, &wide)));
    for (std::size_t j = 0; j < 50; ++j) REQUIRE(gradient[j] == static_cast<float>(wide[j]));
    rlgaf::workspace work;
    const auto call = [&] {
        full_kl{}(std::span<const float>(z), std::span<const float>(r), 1, work, std::span<float>(gradient));
    };
    call();
    REQUIRE(allocations_of(call) == 0);
}
