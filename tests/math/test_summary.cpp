#include "rlgaf/math/summary.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::summary;

namespace {
summary of(const table& x, const table& mask = {}, layout how = layout::packed) {
    ragged<double> values(x, how, not_a_number);
    ragged<std::uint8_t> m(mask, how, 1);
    return rlgaf::token_summary(values.view(), m.view());
}
rlgaf::moments flat(const std::vector<double>& x) { return rlgaf::moments_of(x); }
}  // namespace

TEST_CASE("A summary is the moments and the range of unmasked tokens, and parts merge") {
    dice d(11);
    for (int i = 0; i < 1000; ++i) {
        const table shape = random_shape(d, 6, 5), mask = random_mask(d, shape);
        const table x =
            table_like(shape, [&](auto b, auto t) { return included(mask, b, t) ? 100 + d.normal() : not_a_number; });
        std::vector<double> kept;
        for (std::size_t b = 0; b < x.size(); ++b)
            for (std::size_t t = 0; t < x[b].size(); ++t)
                if (included(mask, b, t)) kept.push_back(x[b][t]);
        const summary s = of(x, mask, layouts[i % 2]);
        REQUIRE(s.count == flat(kept).count);
        REQUIRE(gap(s.mean, flat(kept).mean) < 1e-12);
        REQUIRE(gap(s.squares, flat(kept).squares) < 1e-10);
        double least = infinity, most = -infinity;
        for (const double v : kept) least = std::fmin(least, v), most = std::fmax(most, v);
        if (kept.empty()) {
            REQUIRE(std::isnan(s.min));
            REQUIRE(std::isnan(s.max));
        } else {
            REQUIRE(s.min == least);
            REQUIRE(s.max == most);
        }
        const std::size_t cut = d.below(x.size() + 1);
        const auto part = [&](const table& t, std::size_t from, std::size_t to) {
            return t.empty() ? table{}
                             : table(t.begin() + static_cast<std::ptrdiff_t>(from),
                                     t.begin() + static_cast<std::ptrdiff_t>(to));
        };
        summary merged = of(part(x, 0, cut), part(mask, 0, cut));
        merged.merge(of(part(x, cut, x.size()), part(mask, cut, x.size())));
        REQUIRE(merged.count == s.count);
        REQUIRE(gap(merged.mean, s.mean) < 1e-12);
        REQUIRE(gap(merged.squares, s.squares) < 1e-10);
        REQUIRE((std::isnan(s.min) ? std::isnan(merged.min) : merged.min == s.min));
        REQUIRE((std::isnan(s.max) ? std::isnan(merged.max) : merged.max == s.max));
    }
}

TEST_CASE("A summary lets NaN show in the mean, and allocates nothing") {
    REQUIRE(std::isnan(of({{1, not_a_number}}).mean));
    ragged<float> x({{1, 2}, {6}}, layout::padded, 0.0f);
    const auto view = x.view();
    summary s;
    REQUIRE(allocations_of([&] { s = rlgaf::token_summary(view, {}); }) == 0);
    REQUIRE(s.mean == 3);
    REQUIRE(s.squares == 14);
}

TEST_CASE("Effective sample size: the formula sheet's golden value") {
    REQUIRE(gap(4 * rlgaf::ess_fraction(flat({0.5, 1, 2, 0.25})), 2.647059) < 1e-6);
    REQUIRE(gap(rlgaf::ess_fraction(flat({0.5, 1, 2, 0.25})), 0.661765) < 1e-6);
}

TEST_CASE("Effective sample size is (sum w)^2 / (n sum w^2), from 1 / n for one weight to 1 for equal ones") {
    dice d(12);
    for (int i = 0; i < 1000; ++i) {
        std::vector<double> w(1 + d.below(20));
        double sum = 0, squares = 0;
        for (double& x : w) x = std::exp(d.chance(0.1) ? 20 : 3 * d.normal()), sum += x, squares += x * x;
        REQUIRE(gap(rlgaf::ess_fraction(flat(w)), sum * sum / (static_cast<double>(w.size()) * squares)) < 1e-12);
    }
    REQUIRE(gap(rlgaf::ess_fraction(flat({0, 0, 5, 0})), 0.25) < 1e-15);
    REQUIRE(rlgaf::ess_fraction(flat({3, 3})) == 1);
    REQUIRE(rlgaf::ess_fraction(flat({0, 0})) == 0);
    REQUIRE(rlgaf::ess_fraction(flat({})) == 0);
}

TEST_CASE("Explained variance is 1 for perfect values, 0 for a constant, negative for worse ones") {
    const auto explained = [](const std::vector<double>& returns, const std::vector<double>& value) {
        std::vector<double> residual;
        for (std::size_t i = 0; i < returns.size(); ++i) residual.push_back(returns[i] - value[i]);
        return rlgaf::explained_variance(flat(returns), flat(residual));
    };
    REQUIRE(explained({1, 2, 4}, {1, 2, 4}) == 1);
    REQUIRE(explained({1, 2, 4}, {2, 3, 5}) == 1);  // an offset is no variance
    REQUIRE(gap(explained({1, 2, 4}, {7, 7, 7}), 0) < 1e-15);
    REQUIRE(gap(explained({1, 2, 3}, {3, 2, 1}), -3) < 1e-15);
}

TEST_CASE("Trap: explained variance of returns without variance is NaN, not a number that depends on an epsilon") {
    for (const double r : {0.0, 1.0, 17.3, 0.1})
        REQUIRE(std::isnan(rlgaf::explained_variance(flat({r, r, r}), flat({1, 2, 3}))));
    REQUIRE(std::isnan(rlgaf::explained_variance(flat({1}), flat({1}))));
    REQUIRE(std::isnan(rlgaf::explained_variance(flat({}), flat({}))));
}
