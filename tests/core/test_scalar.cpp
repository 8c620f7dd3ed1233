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

TEST_CASE("sigmoid, softplus and log_sigmoid keep their digits between -700 and 700") {
    for (double x = -700; x <= 700; x += 0.37) {
        const long double e = std::exp(-static_cast<long double>(x));
        REQUIRE(relative(sigmoid(x), 1 / (1 + e)) < 1e-15);
        REQUIRE(relative(softplus(-x), std::log1p(e)) < 1e-15);
        REQUIRE(log_sigmoid(x) == -softplus(-x));
        REQUIRE(gap(sigmoid(x) + sigmoid(-x), 1) < 1e-15);
        REQUIRE(gap(softplus(x) - softplus(-x), x) < 1e-12);
    }
}

TEST_CASE("Sample values of the discriminator sheet: log D and -log(1 - D)") {
    const double s[] = {-2, -0.5, 0, 0.5, 2};
    const double log_d[] = {-2.126928, -0.974077, -0.693147, -0.474077, -0.126928};
    for (int i = 0; i < 5; ++i) {
        REQUIRE(gap(log_sigmoid(s[i]), log_d[i]) < 1e-6);
        REQUIRE(gap(softplus(s[i]), -log_d[4 - i]) < 1e-6);
    }
}

TEST_CASE("sigmoid and softplus at +-1e4, infinity and NaN") {
    REQUIRE(sigmoid(1e4) == 1);
    REQUIRE(sigmoid(-1e4) == 0);
    REQUIRE(softplus(1e4) == 1e4);
    REQUIRE(softplus(-1e4) == 0);
    REQUIRE(log_sigmoid(-1e4) == -1e4);
    REQUIRE(sigmoid(infinity) == 1);
    REQUIRE(sigmoid(-infinity) == 0);
    REQUIRE(softplus(infinity) == infinity);
    REQUIRE(softplus(-infinity) == 0);
    REQUIRE(std::isnan(sigmoid(not_a_number)));
    REQUIRE(std::isnan(softplus(not_a_number)));
}

TEST_CASE("softplus_and_slope is softplus, sigmoid(x) and sigmoid(-x)") {
    for (double x = -700; x <= 700; x += 0.37) {
        const softplus_pair both = softplus_and_slope(x);
        REQUIRE(both.value == softplus(x));
        REQUIRE(relative(both.slope, sigmoid(x)) < 1e-15);
        REQUIRE(relative(both.rest, sigmoid(-x)) < 1e-15);
    }
    for (const double x : {1e4, infinity}) {
        REQUIRE(softplus_and_slope(x).slope == 1);
        REQUIRE(softplus_and_slope(x).rest == 0);
        REQUIRE(softplus_and_slope(-x).slope == 0);
        REQUIRE(softplus_and_slope(-x).rest == 1);
    }
    REQUIRE(std::isnan(softplus_and_slope(not_a_number).slope));
    REQUIRE(std::isnan(softplus_and_slope(not_a_number).rest));
}

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
    REQUIRE(logarithm(1) == 0);
    REQUIRE(logarithm(0) == -infinity);
    REQUIRE(logarithm(infinity) == infinity);
    REQUIRE(logarithm(1e-310) == logarithm(std::numeric_limits<double>::min()));
    REQUIRE(std::isnan(logarithm(-1)));
    REQUIRE(std::isnan(logarithm(-infinity)));
    REQUIRE(std::isnan(logarithm(not_a_number)));
}

TEST_CASE("sigmoid is the slope of softplus") {
    for (double x = -30; x < 30; x += 0.7) REQUIRE(gap(slope([&] { return softplus(x); }, x), sigmoid(x)) < 1e-9);
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
