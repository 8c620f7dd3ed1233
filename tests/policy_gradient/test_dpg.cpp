#include "rlgaf/policy_gradient/dpg.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::dpg;
using vector = std::vector<double>;

namespace {
template <class T = double>
std::pair<double, vector> run(const dpg& loss, const vector& slope_of_critic, double weight = 1, double start = 0) {
    const std::vector<T> s(slope_of_critic.begin(), slope_of_critic.end());
    std::vector<T> d(s.size(), static_cast<T>(start));
    const double l = loss(std::span<const T>(s), weight, std::span<T>(d));
    return {l, {d.begin(), d.end()}};
}
}  // namespace

TEST_CASE("dpg on a slope of (3, 4): what rlax's dpg_loss gives with and without clipping") {
    const auto plain = run({}, {3, 4}), clipped = run({.max_norm = 1}, {3, 4}), loose = run({.max_norm = 10}, {3, 4});
    REQUIRE(plain.first == 12.5);
    REQUIRE(gap(plain.second, {-3, -4}) == 0);
    REQUIRE(gap(clipped.first, 0.5) < 1e-15);
    REQUIRE(gap(clipped.second, {-0.6, -0.8}) < 1e-15);
    REQUIRE(loose.first == 12.5);
    REQUIRE(gap(run({.max_norm = 5}, {3, 4}).second, {-3, -4}) == 0);  // at the bound: not clipped
}

TEST_CASE("dpg's gradient is the slope of half the squared distance to a fixed target, and it climbs the critic") {
    dice d(620);
    for (int i = 0; i < 2000; ++i) {
        const std::size_t n = 1 + d.below(5);
        const dpg loss{.max_norm = d.chance(0.5) ? 0 : d.uniform(0.1, 3)};
        vector s(n), action(n), target(n);
        for (double& x : s) x = d.normal();
        for (double& x : action) x = d.normal();
        double norm = 0;
        for (const double x : s) norm += x * x;
        norm = std::sqrt(norm);
        const double scale = loss.max_norm > 0 && norm > loss.max_norm ? loss.max_norm / norm : 1;
        for (std::size_t k = 0; k < n; ++k) target[k] = action[k] + scale * s[k];
        const double weight = d.uniform(-1, 2);
        const auto half = [&] {
            double sum = 0;
            for (std::size_t k = 0; k < n; ++k) sum += (target[k] - action[k]) * (target[k] - action[k]) / 2;
            return sum;
        };
        const auto [value, gradient] = run(loss, s, weight);
        REQUIRE(gap(value, half()) < 1e-12);
        for (std::size_t k = 0; k < n; ++k)
            REQUIRE(gap(gradient[k], slope([&] { return weight * half(); }, action[k])) < 1e-8);
        REQUIRE(gap(run(loss, s, weight, 3).second[0], 3 + gradient[0]) < 1e-15);
    }
}

TEST_CASE("dpg: slopes of 0, of 1e200 and of none; float; no allocation") {
    REQUIRE(run({.max_norm = 1}, {0, 0}).first == 0);
    REQUIRE(gap(run({.max_norm = 1}, {0, 0}, 1, 2).second, {2, 2}) == 0);
    REQUIRE(run({}, {}).first == 0);
    REQUIRE(gap(run({.max_norm = 1}, {3e200, -4e200}).second, {-0.6, 0.8}) < 1e-15);
    REQUIRE(gap(run({.max_norm = 1}, {3e-200, 4e-200}).second, {-3e-200, -4e-200}) < 1e-210);
    REQUIRE(gap(run<float>({.max_norm = 1}, {3, 4}).second, {-0.6, -0.8}) < 1e-7);
    const std::vector<float> s = {3, 4};
    std::vector<float> g(2);
    REQUIRE(allocations_of([&] { dpg{}(std::span<const float>(s), 1, std::span<float>(g)); }) == 0);
}

TEST_CASE("dpg refuses shapes, numbers and options by name") {
    for (const double x : {-0.1, not_a_number}) REQUIRE(refuses(dpg{.max_norm = x}, "dpg", "max_norm"));
    const vector s = {1, not_a_number}, good = {1, 2};
    vector d(2), one(1);
    REQUIRE(message_of<rlgaf::numeric_error>([&] { dpg{}(std::span<const double>(s), 1, std::span<double>(d)); }) ==
            "rlgaf::dpg: slope[1]: expected a finite number, got nan");
    REQUIRE(message_of<rlgaf::shape_error>([&] { dpg{}(std::span<const double>(good), 1, std::span<double>(one)); }) ==
            "rlgaf::dpg: d_action: expected 2 elements, got 1");
}
