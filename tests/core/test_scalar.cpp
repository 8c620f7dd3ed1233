#include <vector>

#include "rlgaf/core/scalar.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
double relative(double a, long double b) {
    return static_cast<double>(std::abs(static_cast<long double>(a) - b) / (b == 0 ? 1 : std::abs(b)));
}
}  // namespace

TEST_CASE("logarithm keeps its digits from the smallest normal number to the largest") {
    const double tolerance = 2 * std::numeric_limits<double>::epsilon();
    const auto check = [&](double x) {
        CAPTURE(x);
        REQUIRE(relative(logarithm(x), std::log(static_cast<long double>(x))) <= tolerance);
    };
    for (double x = 0.3; x < 3; x += 1.7e-4) check(x);
    for (double power = -1021.9; power < 1023.9; power += 0.0317) check(std::exp2(power));
    for (double apart = 1e-15; apart < 0.5; apart *= 1.3) check(1 + apart), check(1 - apart);
    check(std::numeric_limits<double>::min());
    check(std::numeric_limits<double>::max());
    REQUIRE(logarithm(1.0) == 0);
    REQUIRE(logarithm(0.0) == -infinity);
    REQUIRE(logarithm(infinity) == infinity);
    REQUIRE(logarithm(1e-310) == logarithm(std::numeric_limits<double>::min()));
    REQUIRE(std::isnan(logarithm(-1.0)));
    REQUIRE(std::isnan(logarithm(-infinity)));
    REQUIRE(std::isnan(logarithm(not_a_number)));
}

TEST_CASE("The logarithm of float keeps a float's digits") {
    constexpr double epsilon = std::numeric_limits<float>::epsilon();
    for (float x = -86; x <= 86; x += 0.0137f) {
        const float power = std::exp2(1.4f * x), near = 1 + 0.003f * x;
        REQUIRE(relative(logarithm(power), std::log(static_cast<double>(power))) < 2 * epsilon);
        REQUIRE(relative(logarithm(near), std::log(static_cast<double>(near))) < 2 * epsilon);
    }
    REQUIRE(logarithm(0.0f) == -static_cast<float>(infinity));
    REQUIRE(logarithm(static_cast<float>(infinity)) == static_cast<float>(infinity));
    REQUIRE(std::isnan(logarithm(-1.0f)));
}

TEST_CASE("expm1_minus_x does not cancel near 0 and is never negative") {
    for (const double magnitude : {1e-300, 1e-160, 1e-12, 1e-8, 1e-4, 5e-3, 0.00999, 0.01, 0.0101, 0.1, 1.0})
        for (const double x : {magnitude, -magnitude}) {
            // The series, in extended precision, summed until it stops changing.
            long double term = x, sum = 0;
            for (int k = 2; k < 200; ++k) sum += term *= static_cast<long double>(x) / k;
            REQUIRE(expm1_minus_x(x) >= 0);
            if (magnitude > 1e-150) REQUIRE(relative(expm1_minus_x(x), sum) < 1e-13);
        }
    REQUIRE(expm1_minus_x(0) == 0);
    REQUIRE(gap(expm1_minus_x(20), std::exp(20.0) - 21) < 1e-6);
    REQUIRE(gap(expm1_minus_x(-20), 19) < 1e-8);
    REQUIRE(expm1_minus_x(-200) == 199);
    REQUIRE(std::isnan(expm1_minus_x(not_a_number)));
}

TEST_CASE("log_sum_exp shifts by the largest element") {
    const auto lse = [](const std::vector<double>& x) { return log_sum_exp(std::span<const double>(x)); };
    REQUIRE(gap(lse({std::log(1), std::log(2), std::log(5)}), std::log(8)) < 1e-15);
    REQUIRE(gap(lse({1000, 1000}), 1000 + std::log(2)) < 1e-12);
    REQUIRE(gap(lse({-1000, -1000}), -1000 + std::log(2)) < 1e-12);
    REQUIRE(lse({3}) == 3);
    REQUIRE(lse({3, -infinity}) == 3);
    REQUIRE(lse({}) == -infinity);
    REQUIRE(lse({-infinity, -infinity}) == -infinity);
    REQUIRE(lse({infinity, 1}) == infinity);
    REQUIRE(std::isnan(lse({not_a_number})));
    REQUIRE(std::isnan(lse({1, not_a_number, 2})));
    const std::vector<float> x = {1, 2};
    REQUIRE(gap(log_sum_exp(std::span<const float>(x)), std::log(std::exp(1) + std::exp(2))) < 1e-15);
}

TEST_CASE("Log-ratios are held within +-20, both ends included; NaN stays NaN") {
    REQUIRE(clamp_log_ratio(19.5) == 19.5);
    REQUIRE(clamp_log_ratio(20) == 20);
    REQUIRE(clamp_log_ratio(200) == 20);
    REQUIRE(clamp_log_ratio(-200) == -20);
    REQUIRE(clamp_log_ratio(-infinity) == -20);
    REQUIRE(std::isnan(clamp_log_ratio(not_a_number)));
    REQUIRE(!log_ratio_saturated(20));
    REQUIRE(!log_ratio_saturated(-20));
    REQUIRE(log_ratio_saturated(20.0001));
    REQUIRE(log_ratio_saturated(-20.0001));
    REQUIRE(!log_ratio_saturated(not_a_number));
}
