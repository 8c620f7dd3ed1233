#include "rlgaf/math/temperature.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::relgan_temperature;
using rlgaf::temperature_shape;

namespace {
constexpr temperature_shape shapes[] = {temperature_shape::exponential, temperature_shape::linear,
                                        temperature_shape::logarithmic, temperature_shape::sigmoid,
                                        temperature_shape::quadratic,   temperature_shape::square_root,
                                        temperature_shape::constant};
}

TEST_CASE("relgan_temperature: RelGAN's formulas, the code's N and B written out") {
    const double b = 100, n = 5000, i = 1234;
    const double expected[] = {std::pow(b, i / n),
                               1 + (b - 1) / (n - 1) * i,
                               1 + (b - 1) / std::log(n) * std::log(i + 1),
                               (b - 1) / (1 + std::exp((n / 2 - i) * 20 / n)) + 1,
                               1 + (b - 1) / ((n - 1) * (n - 1)) * i * i,
                               1 + (b - 1) / std::sqrt(n - 1) * std::sqrt(i),
                               b};
    for (std::size_t k = 0; k < 7; ++k) REQUIRE(gap(relgan_temperature{.shape = shapes[k]}(1234), expected[k]) < 1e-11);
    REQUIRE(relgan_temperature{}(0) == 1);
    REQUIRE(gap(relgan_temperature{.shape = temperature_shape::logarithmic, .steps = 10}(9), 100) < 1e-12);
}

TEST_CASE("relgan_temperature never falls, and stays at the highest") {
    for (const temperature_shape shape : shapes) {
        const relgan_temperature t{.shape = shape, .highest = 20, .steps = 50};
        double before = 1;
        for (std::uint64_t i = 0; i < 200; ++i) {
            const double now = t(i);
            REQUIRE(now >= before);
            REQUIRE(now <= 20);
            before = now;
        }
        REQUIRE(gap(t(1000000000), 20) < 1e-6);
        REQUIRE(relgan_temperature{.shape = shape, .highest = 1, .steps = 2}(1) == 1);
    }
}

TEST_CASE("relgan_temperature refuses its options by name") {
    for (const double x : {0.9, infinity, not_a_number})
        REQUIRE(refuses(relgan_temperature{.highest = x}, "relgan_temperature", "highest"));
    REQUIRE(refuses(relgan_temperature{.steps = 1}, "relgan_temperature", "steps"));
}
