#include <vector>

#include "rlgaf/core/logistic.hpp"
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

TEST_CASE("sigmoid and softplus of float keep a float's digits") {
    constexpr double epsilon = std::numeric_limits<float>::epsilon();
    for (float x = -86; x <= 86; x += 0.0137f) {
        const auto both = softplus_and_slope(x);
        const double wide = x;
        REQUIRE(relative(softplus(x), softplus(wide)) < 2 * epsilon);
        REQUIRE(relative(sigmoid(x), sigmoid(wide)) < 2 * epsilon);
        REQUIRE(both.value == softplus(x));
        REQUIRE(relative(both.slope, sigmoid(wide)) < 2 * epsilon);
        REQUIRE(relative(both.rest, sigmoid(-wide)) < 2 * epsilon);
    }
    for (const float x : {100.0f, 1e4f, static_cast<float>(infinity)}) {
        REQUIRE(sigmoid(x) == 1);
        REQUIRE(sigmoid(-x) == 0);
        REQUIRE(softplus(x) == x);
        REQUIRE(softplus(-x) == 0);
    }
    REQUIRE(std::isnan(softplus(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("tail_of is what softplus and sigmoid of both signs have in common") {
    for (double x = -700; x <= 700; x += 0.37) {
        REQUIRE(tail_of(x).value == softplus(-std::abs(x)));
        REQUIRE(relative(tail_of(x).share, sigmoid(-std::abs(x))) < 1e-15);
    }
    REQUIRE(tail_of(-1e4).value == 0);
    REQUIRE(tail_of(1e4).share == 0);
    REQUIRE(tail_of(0.0).share == 0.5);
    REQUIRE(std::isnan(tail_of(not_a_number).value));
    REQUIRE(std::isnan(tail_of(not_a_number).share));
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
        const auto both = softplus_and_slope(x);
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

TEST_CASE("sigmoid is the slope of softplus") {
    for (double x = -30; x < 30; x += 0.7) REQUIRE(gap(slope([&] { return softplus(x); }, x), sigmoid(x)) < 1e-9);
}
