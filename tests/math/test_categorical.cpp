#include "rlgaf/math/categorical.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::kl_divergence;
using rlgaf::log_softmax;
using rlgaf::log_softmax_backward;

namespace {
using vector = std::vector<double>;

/// Log-probabilities, and the entropy behind them.
std::pair<vector, double> softmax(const vector& logit, double temperature = 1) {
    vector log_prob(logit.size());
    const double entropy = log_softmax(std::span<const double>(logit), temperature, std::span<double>(log_prob));
    return {log_prob, entropy};
}
double kl(const vector& log_p, const vector& log_q) {
    return kl_divergence(std::span<const double>(log_p), std::span<const double>(log_q));
}
}  // namespace

TEST_CASE("log_softmax on a known distribution: 1/8, 2/8, 5/8") {
    const auto [log_prob, entropy] = softmax({std::log(1), std::log(2), std::log(5)});
    REQUIRE(gap(log_prob, {std::log(0.125), std::log(0.25), std::log(0.625)}) < 1e-15);
    REQUIRE(gap(entropy, 0.125 * std::log(8) + 0.25 * std::log(4) + 0.625 * std::log(1.6)) < 1e-15);
    const auto [tempered, colder] = softmax({std::log(1), std::log(2)}, 0.5);  // squares: 1/5, 4/5
    REQUIRE(gap(tempered, {std::log(0.2), std::log(0.8)}) < 1e-15);
    REQUIRE(gap(colder, 0.2 * std::log(5) + 0.8 * std::log(1.25)) < 1e-15);
}

TEST_CASE("log_softmax: shifts cancel, far logits do not overflow, -infinity takes no part") {
    REQUIRE(gap(softmax({1e4, 1e4 + 1}).first, softmax({0, 1}).first) < 1e-12);
    REQUIRE(gap(softmax({-1e4, 1e4}).first, {-2e4, 0}) < 1e-12);
    REQUIRE(softmax({-1e4, 1e4}).second == 0);
    const auto [log_prob, entropy] = softmax({-infinity, 0, 0});
    REQUIRE(log_prob[0] == -infinity);
    REQUIRE(gap(log_prob[1], -std::log(2)) < 1e-15);
    REQUIRE(gap(entropy, std::log(2)) < 1e-15);
    REQUIRE(gap(softmax({3}).first, {0}) == 0);
    REQUIRE(std::isnan(softmax({0, not_a_number}).first[0]));
}

TEST_CASE("log_softmax refuses what has no distribution, by name") {
    const auto message = [](const vector& logit) { return message_of<rlgaf::numeric_error>([&] { softmax(logit); }); };
    REQUIRE(message({}) == "rlgaf::log_softmax: logit: expected a finite largest logit, got -inf");
    REQUIRE(message({-infinity, -infinity}) == "rlgaf::log_softmax: logit: expected a finite largest logit, got -inf");
    REQUIRE(message({0, infinity}) == "rlgaf::log_softmax: logit: expected a finite largest logit, got inf");
    for (const double t : {0.0, -1.0, not_a_number})
        REQUIRE(message_of<rlgaf::option_error>([&] {
                    softmax({0, 1}, t);
                }).starts_with("rlgaf::log_softmax: .temperature: expected positive, got "));
    vector logit(2), out(3);
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                log_softmax(std::span<const double>(logit), 1.0, std::span<double>(out));
            }) == "rlgaf::log_softmax: log_prob: expected 2 elements, got 3");
}

TEST_CASE("log_softmax_backward is the gradient of log_prob[action] and of the entropy, at any temperature") {
    dice d(9);
    for (int i = 0; i < 3000; ++i) {
        const std::size_t size = 1 + d.below(6), action = d.below(size);
        vector logit(size), gradient(size);
        for (double& z : logit) z = 2 * d.normal();
        const double temperature = d.uniform(0.3, 3), by_log_prob = d.normal(), by_entropy = d.normal();
        const auto [log_prob, entropy] = softmax(logit, temperature);
        for (double& g : gradient) g = d.normal();
        const vector start = gradient;
        log_softmax_backward(std::span<const double>(log_prob), action, entropy, temperature, by_log_prob, by_entropy,
                             std::span<double>(gradient));
        const auto value = [&] {
            const auto [l, h] = softmax(logit, temperature);
            return by_log_prob * l[action] + by_entropy * h;
        };
        for (std::size_t v = 0; v < size; ++v) REQUIRE(gap(gradient[v] - start[v], slope(value, logit[v])) < 1e-7);
    }
}

TEST_CASE("log_softmax_backward without an entropy term is the one with 0") {
    const auto [log_prob, entropy] = softmax({0.5, -1.25, 2}, 0.7);
    vector brief(3, 1.0), full(3, 1.0);
    log_softmax_backward(std::span<const double>(log_prob), 2, 0.7, -1.5, std::span<double>(brief));
    log_softmax_backward(std::span<const double>(log_prob), 2, entropy, 0.7, -1.5, 0.0, std::span<double>(full));
    REQUIRE(same_bits(brief, full));
}

TEST_CASE("log_softmax_backward: no gradient where the probability is 0, and shapes are checked") {
    const auto lp = softmax({-infinity, 0, 1});
    vector gradient(3);
    const auto backward = [&](std::size_t action) {
        log_softmax_backward(std::span<const double>(lp.first), action, lp.second, 1.0, 1.0, 1.0,
                             std::span<double>(gradient));
    };
    backward(2);
    REQUIRE(gradient[0] == 0);
    REQUIRE(gap(gradient[1] + gradient[2], 0) < 1e-15);
    REQUIRE(message_of<rlgaf::shape_error>([&] { backward(3); }) ==
            "rlgaf::log_softmax_backward: action: expected below 3, got 3");
    gradient.resize(2);
    REQUIRE(message_of<rlgaf::shape_error>([&] { backward(0); }) ==
            "rlgaf::log_softmax_backward: d_logit: expected 3 elements, got 2");
}

TEST_CASE("kl_divergence: known values, 0 for equals, infinite where q lacks what p has") {
    const vector p = {std::log(0.25), std::log(0.75)}, q = {std::log(0.5), std::log(0.5)};
    REQUIRE(gap(kl(p, q), 0.25 * std::log(0.5) + 0.75 * std::log(1.5)) < 1e-15);
    REQUIRE(kl(p, p) == 0);
    REQUIRE(kl({0, -infinity}, q) == std::log(2));
    REQUIRE(kl(q, {0, -infinity}) == infinity);
    REQUIRE(message_of<rlgaf::shape_error>([&] { kl(p, {0}); }) ==
            "rlgaf::kl_divergence: log_q: expected 2 elements, got 1");
}

TEST_CASE("The categorical works in float and allocates nothing") {
    const std::vector<float> logit = {0.5f, -1.25f, 2};
    std::vector<float> log_prob(3), gradient(3);
    double entropy = 0;
    REQUIRE(allocations_of([&] {
                entropy = log_softmax(std::span<const float>(logit), 1.0, std::span<float>(log_prob));
                log_softmax_backward(std::span<const float>(log_prob), 1, entropy, 1.0, 1.0, 0.0,
                                     std::span<float>(gradient));
            }) == 0);
    const auto [expected, h] = softmax({0.5, -1.25, 2});
    REQUIRE(entropy == h);
    for (std::size_t v = 0; v < 3; ++v) REQUIRE(log_prob[v] == static_cast<float>(expected[v]));
}
