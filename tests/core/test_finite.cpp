#include "rlgaf/core/finite.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::first_nonfinite;
using rlgaf::is_nan;

TEST_CASE("first_nonfinite finds NaN and infinities of both signs, wherever they are") {
    const double bad[] = {not_a_number, -not_a_number, infinity, -infinity};
    const double good[] = {0, -0.0, 1, -1, 1e308, -1e308, 5e-324, std::numeric_limits<double>::max()};
    for (std::size_t n = 0; n < 20; ++n) {
        std::vector<double> x;
        for (std::size_t i = 0; i < n; ++i) x.push_back(good[i % std::size(good)]);
        std::vector<float> f(x.begin(), x.end());
        for (float& v : f)
            if (std::isinf(v)) v = std::numeric_limits<float>::max();
        REQUIRE(first_nonfinite(std::span<const double>(x)) == n);
        REQUIRE(first_nonfinite(std::span<const float>(f)) == n);
        for (std::size_t i = 0; i < n; ++i)
            for (const double v : bad) {
                std::vector<double> y = x;
                std::vector<float> g = f;
                y[i] = y[n - 1] = v, g[i] = g[n - 1] = static_cast<float>(v);
                REQUIRE(first_nonfinite(std::span<const double>(y)) == i);
                REQUIRE(first_nonfinite(std::span<const float>(g)) == i);
            }
    }
}

TEST_CASE("is_nan tells NaN from infinity and from the largest number") {
    const double yes[] = {not_a_number, -not_a_number, std::numeric_limits<double>::signaling_NaN(), std::nan("7")};
    const double no[] = {0, -0.0, infinity, -infinity, std::numeric_limits<double>::max(), 5e-324};
    for (const double& x : yes) REQUIRE(is_nan(&x));
    for (const double& x : no) REQUIRE(!is_nan(&x));
}

TEST_CASE("check_finite names row and token of the first unmasked element that is not finite") {
    const table x = {{1, not_a_number}, {}, {not_a_number, 2, infinity}};
    const auto message = [&](const table& mask, layout how) {
        ragged<float> values(x, how, 0);
        ragged<std::uint8_t> m(mask, how, 1);
        return message_of<rlgaf::numeric_error>(
            [&] { rlgaf::detail::check_finite(rlgaf::ragged_view<const float>(values.view()), m.view(), "f", "x"); });
    };
    for (const layout how : layouts) {
        REQUIRE(message({}, how) == "rlgaf::f: x row 0 token 1: expected a finite number, got nan");
        REQUIRE(message({{1, 0}, {}, {0, 1, 1}}, how) ==
                "rlgaf::f: x row 2 token 2: expected a finite number, got inf");
        REQUIRE(message({{1, 0}, {}, {0, 1, 0}}, how) == "nothing thrown");
    }
    const std::vector<double> flat = {1, -infinity};
    REQUIRE(message_of<rlgaf::numeric_error>([&] {
                rlgaf::detail::check_finite(std::span<const double>(flat), "f", "x");
            }) == "rlgaf::f: x[1]: expected a finite number, got -inf");
}
