#include "rlgaf/math/f_divergence.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::divergence;
using rlgaf::f_divergence;

namespace {
/// Every divergence whose score knows a ratio.
const f_divergence with_ratio[] = {
    {divergence::kl},         {divergence::reverse_kl},     {divergence::pearson},    {divergence::squared_hellinger},
    {divergence::gan},        {divergence::jensen_shannon}, {divergence::alpha, 0.2}, {divergence::alpha, 0.5},
    {divergence::alpha, 1.5}, {divergence::alpha, 2},       {divergence::alpha, 4}};
}  // namespace

TEST_CASE("The score of a ratio claims that ratio") {
    dice d(1);
    for (int i = 0; i < 2000; ++i) {
        const double u = std::exp(d.normal());
        for (const f_divergence& f : with_ratio) {
            CAPTURE(static_cast<int>(f.kind), f.alpha, u);
            REQUIRE(gap(f.ratio(f.score(u)) / u, 1) < 1e-11);
        }
    }
    REQUIRE(f_divergence{divergence::total_variation}.score(2) == infinity);
    REQUIRE(f_divergence{divergence::total_variation}.score(0.5) == -infinity);
    REQUIRE(f_divergence{divergence::total_variation}.score(1) == 0);
    REQUIRE(f_divergence{divergence::total_variation}.ratio(3) == 1);
    REQUIRE(gap(f_divergence{divergence::alpha, 0.5}.score(1e-12), -2e6) < 1e-6);
}

TEST_CASE("The ratio is the derivative of the conjugate by g") {
    dice d(2);
    for (int i = 0; i < 2000; ++i) {
        double s = d.uniform(-1.5, 3);
        for (const f_divergence& f : with_ratio) {
            if (f.kind == divergence::alpha && f.alpha > 1) s = d.uniform(-0.2, 3);
            CAPTURE(static_cast<int>(f.kind), f.alpha, s);
            const rlgaf::f_term g = f.activation(s), c = f.conjugate(s);
            REQUIRE(gap(c.slope, f.ratio(s) * g.slope) < 1e-12 * (1 + c.slope));
            REQUIRE(gap(g.slope, slope([&] { return f.activation(s).value; }, s)) < 1e-6 * (1 + g.slope));
            REQUIRE(gap(c.slope, slope([&] { return f.conjugate(s).value; }, s)) < 1e-6 * (1 + c.slope));
        }
    }
}

TEST_CASE("Conjugates by their definition: the largest u t - f(u)") {
    const auto largest = [](double t, auto&& f) {
        double best = -infinity;
        for (double log_u = -12; log_u < 8; log_u += 1e-3)
            best = std::fmax(best, std::exp(log_u) * t - f(std::exp(log_u)));
        return best;
    };
    for (const double s : {-1.0, -0.3, 0.0, 0.4, 1.0}) {
        const auto check = [&](const f_divergence& how, auto&& f) {
            CAPTURE(static_cast<int>(how.kind), how.alpha, s);
            REQUIRE(gap(how.conjugate(s).value, largest(how.activation(s).value, f)) < 1e-4);
        };
        check({divergence::kl}, [](double u) { return u * std::log(u); });
        check({divergence::reverse_kl}, [](double u) { return -std::log(u); });
        check({divergence::pearson}, [](double u) { return (u - 1) * (u - 1); });
        check({divergence::squared_hellinger}, [](double u) { return std::pow(std::sqrt(u) - 1, 2); });
        check({divergence::jensen_shannon}, [](double u) { return u * std::log(u) - (u + 1) * std::log((u + 1) / 2); });
        check({divergence::gan}, [](double u) { return u * std::log(u) - (u + 1) * std::log(u + 1); });
        check({divergence::total_variation}, [](double u) { return std::abs(u - 1) / 2; });
        for (const double a : {0.5, 1.5, 3.0})
            check({divergence::alpha, a}, [a](double u) { return (std::pow(u, a) - 1 - a * (u - 1)) / (a * (a - 1)); });
    }
}

TEST_CASE("Ratios of saturated scores are finite, held, and never negative") {
    for (const f_divergence& f : with_ratio)
        for (const double s : {-1e4, -25.0, 25.0, 1e4}) {
            CAPTURE(static_cast<int>(f.kind), f.alpha, s);
            REQUIRE(f.ratio(s) >= 0);
            REQUIRE(f.ratio(s) < infinity);
            REQUIRE(std::abs(f.conjugate(s).value) < infinity);
        }
    REQUIRE(f_divergence{divergence::pearson}.ratio(-3) == 0);
    REQUIRE(f_divergence{divergence::reverse_kl}.ratio(25) == std::exp(20.0));
    REQUIRE(f_divergence{divergence::kl}.ratio(25) == std::exp(19.0));
    REQUIRE(f_divergence{divergence::squared_hellinger}.ratio(25) == std::exp(40.0));
    REQUIRE(f_divergence{divergence::alpha, 1.5}.ratio(-3) == std::exp(-20.0));
}

TEST_CASE("Scores of NaN stay NaN") {
    f_divergence total{divergence::total_variation};
    REQUIRE(std::isnan(total.ratio(not_a_number)));
    REQUIRE(std::isnan(total.conjugate(not_a_number).value));
    for (const f_divergence& f : with_ratio) {
        REQUIRE(std::isnan(f.ratio(not_a_number)));
        REQUIRE(std::isnan(f.activation(not_a_number).value));
        REQUIRE(std::isnan(f.conjugate(not_a_number).value));
    }
}

TEST_CASE("The slope of tanh keeps its digits where 1 - tanh^2 has none") {
    using rlgaf::detail::hyperbolic_tangent;
    for (const double s : {-30.0, -3.0, -1e-9, 0.0, 1e-300, 0.1, 2.0, 15.0}) {
        REQUIRE(gap(hyperbolic_tangent(s).value, std::tanh(s)) <= 4e-16 * std::abs(std::tanh(s)));
        REQUIRE(gap(hyperbolic_tangent(s).slope * std::cosh(s) * std::cosh(s), 1) < 1e-13);
    }
    REQUIRE(hyperbolic_tangent(-1e4).value == -1);
    REQUIRE(hyperbolic_tangent(1e4).slope == 0);
}

TEST_CASE("f_divergence refuses alpha out of range by name, and only where it is used") {
    for (const double x : {0.0, 1.0, 11.0, not_a_number}) {
        REQUIRE(message_of<rlgaf::option_error>([&] {
                    f_divergence{divergence::alpha, x}.check();
                }).starts_with("rlgaf::f_divergence: .alpha: expected in [0.01, 10]"));
        f_divergence{divergence::kl, x}.check();
    }
}
