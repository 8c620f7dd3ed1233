#include <vector>

#include "rlgaf/policy_gradient/advantage/astar_value.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::astar_value;

TEST_CASE("astar_value is temperature log mean exp(R / temperature), by its definition") {
    dice d(41);
    for (int i = 0; i < 3000; ++i) {
        std::vector<double> reward(1 + d.below(10));
        const double temperature = d.uniform(0.2, 5);
        long double sum = 0;
        double count = 0;
        for (double& r : reward) {
            r = d.chance(0.2) ? not_a_number : 3 * d.normal();
            if (std::isnan(r)) continue;
            sum += std::exp(static_cast<long double>(r / temperature));
            count += 1;
        }
        const double value = astar_value(reward, temperature);
        if (count == 0)
            REQUIRE(std::isnan(value));
        else
            REQUIRE(gap(value, temperature * static_cast<double>(std::log(sum / static_cast<long double>(count)))) <
                    1e-12);
    }
}

TEST_CASE("astar_value by hand: 8 samples of 0 or 1 at temperature 1/2 (Brantley et al. 2025)") {
    const std::vector<double> reward = {0, 1, 0, 0, 1, 0, 0, 0};
    REQUIRE(gap(astar_value(reward), 0.5 * std::log((6 + 2 * std::exp(2.0)) / 8)) < 1e-15);
}

TEST_CASE("astar_value goes from the best sample to the mean as the temperature rises") {
    const std::vector<double> reward = {1, 0, 0.5, 0.25};
    REQUIRE(gap(astar_value(reward, 1e-6), 1) < 1e-5);
    REQUIRE(gap(astar_value(reward, 1e9), 0.4375) < 1e-9);
    double last = 1;
    for (const double temperature : {0.01, 0.1, 1.0, 10.0, 100.0}) {
        const double value = astar_value(reward, temperature);
        REQUIRE(value < last);
        REQUIRE(value > 0.4375);
        last = value;
    }
}

TEST_CASE("astar_value does not overflow, and a constant is its own value exactly") {
    const std::vector<double> far = {1000, -1000, 1000, 999}, constant(5, 17.3), none;
    REQUIRE(gap(astar_value(far, 0.5), 1000 + 0.5 * std::log((2 + std::exp(-2.0)) / 4)) < 1e-12);
    REQUIRE(gap(astar_value(std::vector<double>{-4000, -4001}, 1), -4000 + std::log((1 + std::exp(-1.0)) / 2)) < 1e-12);
    for (const double temperature : {1e-9, 0.5, 1e9}) REQUIRE(astar_value(constant, temperature) == 17.3);
    REQUIRE(std::isnan(astar_value(none)));
    REQUIRE(std::isnan(astar_value(std::vector<double>{not_a_number})));
}

TEST_CASE("astar_value refuses a temperature out of range by name") {
    const std::vector<double> reward = {1};
    for (const double x : {0.0, -1.0, infinity, not_a_number})
        REQUIRE(message_of<rlgaf::option_error>([&] {
                    astar_value(reward, x);
                }).starts_with("rlgaf::astar_value: .temperature: expected finite and positive, got "));
}
