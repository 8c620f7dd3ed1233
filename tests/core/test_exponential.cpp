#include <cmath>

#include "rlgaf/core/exponential.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::exponential;
using rlgaf::exponential_and_excess;
using rlgaf::exponential_minus_1;

namespace {
/// Largest relative errors on [-from, from], in units of T's epsilon; true values in long double.
template <class T>
void check_accuracy(double from, double step) {
    const long double epsilon = std::numeric_limits<T>::epsilon();
    long double plain = 0, minus_1 = 0, excess = 0;
    for (double at = -from; at <= from; at += step) {
        const T x = static_cast<T>(at);
        const long double wide = x, e = std::exp(wide), m = std::expm1(wide);
        long double rest = m - wide;
        if (std::abs(wide) < 1) {  // the series, where the difference would cancel
            rest = 0;
            long double term = wide * wide / 2;
            for (int k = 3; k < 40; ++k) rest += term, term *= wide / k;
        }
        plain = std::fmax(plain, std::abs(exponential(x) / e - 1));
        if (wide != 0) {
            minus_1 = std::fmax(minus_1, std::abs(exponential_minus_1(x) / m - 1));
            excess = std::fmax(excess, std::abs(exponential_and_excess(x).minus_1_minus_x / rest - 1));
        }
        REQUIRE(exponential_and_excess(x).minus_1_minus_x >= 0);
    }
    REQUIRE(plain < 1.2L * epsilon);
    REQUIRE(minus_1 < 1.2L * epsilon);
    REQUIRE(excess < 12 * epsilon);
}
}  // namespace

TEST_CASE("The branch-free exponentials keep the accuracy that they promise") {
    check_accuracy<double>(30, 7.3e-4);
    check_accuracy<float>(30, 7.3e-4);
    check_accuracy<double>(0.5, 1.3e-5);
    check_accuracy<float>(0.5, 1.3e-5);
    for (const double x : {-700.0, -100.0, 88.0, 700.0})
        REQUIRE(std::abs(exponential(x) / std::exp(x) - 1) < 1.2 * std::numeric_limits<double>::epsilon());
    REQUIRE(exponential(0.0) == 1);
    REQUIRE(exponential(0.0f) == 1);
}

TEST_CASE("The branch-free exponentials neither overflow nor vanish, and NaN stays NaN") {
    for (const double x : {710.0, 1e9, infinity}) {
        REQUIRE(exponential(x) == exponential(709.0));
        REQUIRE(exponential(-x) == exponential(-708.0));
        REQUIRE(exponential(static_cast<float>(x)) == exponential(88.0f));
        REQUIRE(exponential(-static_cast<float>(x)) == exponential(-87.0f));
    }
    REQUIRE(std::isfinite(exponential(709.0)));
    REQUIRE(exponential(-708.0) > 0);
    REQUIRE(std::isnan(exponential(not_a_number)));
    REQUIRE(std::isnan(exponential(static_cast<float>(not_a_number))));
    REQUIRE(std::isnan(exponential_minus_1(not_a_number)));
    REQUIRE(std::isnan(exponential_and_excess(not_a_number).minus_1_minus_x));
}
