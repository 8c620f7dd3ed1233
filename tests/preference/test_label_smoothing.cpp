#include "rlgaf/preference/label_smoothing.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::log_softmax;
using rlgaf::smoothed_nll;

namespace {
using numbers = std::vector<double>;

struct smoothed {
    double value;
    numbers gradient;
};
/// From logits; the gradient starts at `start`.
template <class T = double>
smoothed from_logits(const numbers& logit, std::size_t action, double smoothing, double temperature = 1,
                     double weight = 1, double start = 0) {
    const std::vector<T> z(logit.begin(), logit.end());
    std::vector<T> log_prob(z.size()), gradient(z.size(), static_cast<T>(start));
    log_softmax(std::span<const T>(z), temperature, std::span<T>(log_prob));
    double value = 0;
    REQUIRE(allocations_of([&] {
                value = smoothed_nll(std::span<const T>(log_prob), action, smoothing, temperature, weight,
                                     std::span<T>(gradient));
            }) == 0);
    return {value, {gradient.begin(), gradient.end()}};
}
}  // namespace

TEST_CASE("smoothed_nll on a known distribution: 1/8, 2/8, 5/8") {
    // -(0.7) log 5/8 - 0.1 (log 1/8 + log 2/8 + log 5/8); p - 0.7 [v = 2] - 0.1.
    const smoothed s = from_logits({0, std::log(2), std::log(5)}, 2, 0.3);
    REQUIRE(gap(s.value, 0.7 * std::log(1.6) + 0.1 * (std::log(8) + std::log(4) + std::log(1.6))) < 1e-15);
    REQUIRE(gap(s.gradient, {0.125 - 0.1, 0.25 - 0.1, 0.625 - 0.8}) < 1e-15);
}

TEST_CASE("smoothed_nll is -(1 - s) log p - (s / V) sum of log p, and its gradient is its slope by the logits") {
    dice d(1512);
    for (int i = 0; i < 3000; ++i) {
        const std::size_t size = 1 + d.below(7), action = d.below(size);
        numbers logit(size);
        for (double& z : logit) z = (d.chance(0.1) ? 30 : 2) * d.normal();
        const double smoothing = d.chance(0.2) ? 0 : d.uniform(0, 0.99), temperature = d.uniform(0.3, 3),
                     weight = d.normal();
        const auto value = [&] {
            double total = 0, even = 0;
            for (const double z : logit) total += std::exp(z / temperature);
            for (const double z : logit) even += z / temperature - std::log(total);
            const double own = logit[action] / temperature - std::log(total);
            return -weight * ((1 - smoothing) * own + smoothing / static_cast<double>(size) * even);
        };
        const smoothed s = from_logits(logit, action, smoothing, temperature, weight, 5);
        REQUIRE(gap(s.value, value()) < 1e-12 * (1 + std::abs(s.value)));
        double sum = 0;
        for (std::size_t v = 0; v < size; ++v) {
            REQUIRE(gap(slope(value, logit[v]), s.gradient[v] - 5) < 1e-6);
            sum += s.gradient[v] - 5;
        }
        REQUIRE(gap(sum, 0) < 1e-12 * (1 + std::abs(weight) / temperature));
        const smoothed narrow = from_logits<float>(logit, action, smoothing, temperature, weight);
        REQUIRE(gap(narrow.value, s.value) < 1e-4 * (1 + std::abs(s.value)));
        for (std::size_t v = 0; v < size; ++v) REQUIRE(gap(narrow.gradient[v], s.gradient[v] - 5) < 1e-4);
    }
}

TEST_CASE("smoothed_nll without smoothing is the plain negative log-likelihood") {
    const numbers logit = {0.5, -1.25, 2};
    const smoothed s = from_logits(logit, 1, 0, 0.7, 1.5);
    numbers log_prob(3), gradient(3);
    log_softmax(std::span<const double>(logit), 0.7, std::span<double>(log_prob));
    rlgaf::log_softmax_backward(std::span<const double>(log_prob), 1, 0.7, -1.5, std::span<double>(gradient));
    REQUIRE(gap(s.value, -1.5 * log_prob[1]) < 1e-15);
    REQUIRE(gap(s.gradient, gradient) < 1e-15);
}

TEST_CASE("smoothed_nll: an action of probability 0 takes no part, far logits stay finite") {
    const smoothed all = from_logits({-infinity, 0.3, 1}, 2, 0.2), two = from_logits({0.3, 1}, 1, 0.2);
    REQUIRE(gap(all.value, two.value) < 1e-15);
    REQUIRE(all.gradient[0] == 0);
    REQUIRE(gap(all.gradient[1], two.gradient[0]) < 1e-15);
    REQUIRE(gap(all.gradient[2], two.gradient[1]) < 1e-15);
    REQUIRE(from_logits({-infinity, 0}, 0, 0.2).value == infinity);

    const smoothed far = from_logits({-200, 200}, 0, 0.1);
    REQUIRE(gap(far.value, 0.95 * 400) < 1e-12);
    REQUIRE(gap(far.gradient, {-0.95, 0.95}) < 1e-12);
}

TEST_CASE("smoothed_nll of a masked token: weight 0 reads nothing and adds nothing") {
    const numbers log_prob = {not_a_number, -infinity};
    numbers gradient = {1, not_a_number};
    const double value = smoothed_nll(std::span<const double>(log_prob), 1, 0.1, 1, 0, std::span<double>(gradient));
    REQUIRE(value == 0);
    REQUIRE(gradient[0] == 1);
}

TEST_CASE("smoothed_nll refuses shapes and options by name") {
    const numbers log_prob = {-1, -0.5};
    numbers two(2), three(3);
    const auto call = [&](std::size_t action, double smoothing, double temperature, numbers& gradient) {
        smoothed_nll(std::span<const double>(log_prob), action, smoothing, temperature, 1, std::span<double>(gradient));
    };
    REQUIRE(message_of<rlgaf::shape_error>([&] { call(0, 0, 1, three); }) ==
            "rlgaf::smoothed_nll: d_logit: expected 2 elements, got 3");
    REQUIRE(message_of<rlgaf::shape_error>([&] { call(2, 0, 1, two); }) ==
            "rlgaf::smoothed_nll: action: expected below 2, got 2");
    for (const double s : {-0.1, 1.0, not_a_number})
        REQUIRE(message_of<rlgaf::option_error>([&] {
                    call(0, s, 1, two);
                }).starts_with("rlgaf::smoothed_nll: .smoothing: expected in [0, 1), got "));
    for (const double t : {0.0, -1.0, not_a_number})
        REQUIRE(message_of<rlgaf::option_error>([&] {
                    call(0, 0, t, two);
                }).starts_with("rlgaf::smoothed_nll: .temperature: expected positive, got "));
    REQUIRE(gap(two, {0, 0}) == 0);
}
