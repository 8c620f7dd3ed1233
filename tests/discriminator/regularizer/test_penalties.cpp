#include <vector>

#include "rlgaf/discriminator/regularizer/approximate_r1.hpp"
#include "rlgaf/discriminator/regularizer/dragan.hpp"
#include "rlgaf/discriminator/regularizer/gradient_penalty.hpp"
#include "rlgaf/discriminator/regularizer/r1.hpp"
#include "rlgaf/discriminator/regularizer/r2.hpp"
#include "rlgaf/discriminator/regularizer/wgan_div.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {

struct penalized {
    penalty_stats stats;
    std::vector<double> slope;
};
template <class Penalty>
penalized penalize(const Penalty& penalty, const std::vector<double>& norm, double start = 0) {
    penalized p{.stats = {}, .slope = std::vector<double>(norm.size(), start)};
    REQUIRE(allocations_of([&] { p.stats = penalty(norm, p.slope); }) == 0);
    return p;
}

/// Slopes are derivatives, are added, and the mean is over rows.
template <class Make>
void check_penalty(const std::string& name, Make&& make) {
    dice d(1801 + name.size());
    for (int i = 0; i < 500; ++i) {
        CAPTURE(name, i);
        const auto penalty = make(d);
        std::vector<double> norm(1 + d.below(6));
        for (double& n : norm) n = std::abs(2 * d.normal()) + 1e-3;
        for (double& n : norm) n += std::abs(n - 1) < 1e-3 ? 0.01 : 0;  // the kink of the one-sided penalty
        const penalized p = penalize(penalty, norm), added = penalize(penalty, norm, 7);
        const auto value = [&] { return penalize(penalty, norm).stats.loss; };
        double mean = 0;
        for (std::size_t b = 0; b < norm.size(); ++b) {
            REQUIRE(gap(slope(value, norm[b]), p.slope[b]) < 1e-6 * (1 + std::abs(p.slope[b])));
            REQUIRE(gap(added.slope[b] - 7, p.slope[b]) < 1e-9 * (1 + std::abs(p.slope[b])));
            mean += norm[b] / static_cast<double>(norm.size());
        }
        REQUIRE(gap(p.stats.norm, mean) < 1e-12);
    }
    const auto penalty = make(d);
    REQUIRE(penalize(penalty, {}).stats.loss == 0);
    std::vector<double> one(1), two(2);
    REQUIRE_THROWS_AS(penalty(two, std::span<double>(one)), shape_error);
}

}  // namespace

TEST_CASE("input penalties: slopes by finite differences, accumulation, shapes") {
    check_penalty("r1", [](dice& d) { return r1{.gamma = d.uniform(0, 10)}; });
    check_penalty("r2", [](dice& d) { return r2{.gamma = d.uniform(0, 10)}; });
    check_penalty("gradient_penalty",
                  [](dice& d) { return gradient_penalty{.lambda = d.uniform(0, 10), .one_sided = d.chance(0.5)}; });
    check_penalty("wgan_div", [](dice& d) { return wgan_div{.k = d.uniform(0, 3), .power = d.uniform(1.5, 6)}; });
    check_penalty("dragan", [](dice& d) { return dragan{.lambda = d.uniform(0, 10)}; });
}

TEST_CASE("input penalties by hand, on norms 0, 1 and 3") {
    const std::vector<double> norm = {0, 1, 3};
    const penalized flat = penalize(r1{.gamma = 2}, norm);
    REQUIRE(gap(flat.stats.loss, (0 + 1 + 9) / 3.0) < 1e-15);
    REQUIRE(gap(flat.slope, {0, 2 / 3.0, 2}) < 1e-15);
    const penalized one = penalize(gradient_penalty{.lambda = 10}, norm);
    REQUIRE(gap(one.stats.loss, 10 * (1 + 0 + 4) / 3.0) < 1e-14);
    REQUIRE(gap(one.slope, {-20 / 3.0, 0, 40 / 3.0}) < 1e-14);
    const penalized above = penalize(gradient_penalty{.lambda = 10, .one_sided = true}, norm);
    REQUIRE(gap(above.stats.loss, 10 * 4 / 3.0) < 1e-14);
    REQUIRE(gap(above.slope, {0, 0, 40 / 3.0}) < 1e-14);
    const penalized power = penalize(wgan_div{.k = 2, .power = 6}, norm);
    REQUIRE(gap(power.stats.loss, 2 * (1 + 729) / 3.0) < 1e-12);
    REQUIRE(gap(power.slope, {0, 4, 4 * 243}) < 1e-12);
}

TEST_CASE("approximate_r1: derivatives of both scores, float and double, and r1 to first order") {
    dice d(99);
    for (int i = 0; i < 500; ++i) {
        const approximate_r1 penalty{.lambda = d.uniform(0, 100), .sigma = d.uniform(0.01, 1)};
        std::vector<double> s(1 + d.below(5)), m(s.size());
        for (double& x : s) x = d.normal();
        for (double& x : m) x = d.normal();
        std::vector<double> ds(s.size(), 1), dm(s.size(), 1);
        penalty_stats stats;
        REQUIRE(allocations_of([&] {
                    stats =
                        penalty(std::span<const double>(s), std::span<const double>(m), std::span(ds), std::span(dm));
                }) == 0);
        const auto value = [&] {
            std::vector<double> a(s.size()), b(s.size());
            return penalty(std::span<const double>(s), std::span<const double>(m), std::span(a), std::span(b)).loss;
        };
        for (std::size_t b = 0; b < s.size(); ++b) {
            REQUIRE(gap(slope(value, s[b]), ds[b] - 1) < 1e-5 * (1 + std::abs(ds[b])));
            REQUIRE(gap(slope(value, m[b]), dm[b] - 1) < 1e-5 * (1 + std::abs(dm[b])));
        }
        const std::vector<float> sf(s.begin(), s.end()), mf(m.begin(), m.end());
        std::vector<float> dsf(s.size()), dmf(s.size());
        const double loss =
            penalty(std::span<const float>(sf), std::span<const float>(mf), std::span(dsf), std::span(dmf)).loss;
        REQUIRE(gap(loss, stats.loss) < 1e-4 * (1 + stats.loss));
    }
    // A slope of 3 along the noise: lambda sigma^2 n^2 = 100 * 0.01^2 * 9.
    const std::vector<double> at = {1}, moved = {1.03};
    std::vector<double> a(1), b(1);
    const penalty_stats stats = approximate_r1{.lambda = 100, .sigma = 0.01}(
        std::span<const double>(at), std::span<const double>(moved), std::span(a), std::span(b));
    REQUIRE(gap(stats.loss, 0.09) < 1e-12);
    REQUIRE(gap(stats.norm, 3 * std::sqrt(std::acos(-1.0) / 2)) < 1e-12);
    // A gradient of norm 3, normal noise: the mean of |s - s'| / sigma alone would be 2.39.
    std::vector<double> still(20000), drawn(20000), d_still(20000), d_drawn(20000);
    for (double& x : drawn) x = 0.1 * 3 * d.normal();
    REQUIRE(gap(approximate_r1{.sigma = 0.1}(std::span<const double>(still), std::span<const double>(drawn),
                                             std::span(d_still), std::span(d_drawn))
                    .norm,
                3) < 0.1);
    const std::vector<double> none;
    std::vector<double> empty;
    REQUIRE(approximate_r1{}(std::span<const double>(none), std::span<const double>(none), std::span(empty),
                             std::span(empty))
                .loss == 0);
}

TEST_CASE("input penalties refuse options out of range by name") {
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double x : {-0.1, infinity, not_a_number}) {
        REQUIRE(refuses(r1{.gamma = x}, "r1", "gamma"));
        REQUIRE(refuses(r2{.gamma = x}, "r2", "gamma"));
        REQUIRE(refuses(gradient_penalty{.lambda = x}, "gradient_penalty", "lambda"));
        REQUIRE(refuses(wgan_div{.k = x}, "wgan_div", "k"));
        REQUIRE(refuses(dragan{.lambda = x}, "dragan", "lambda"));
        REQUIRE(refuses(approximate_r1{.lambda = x}, "approximate_r1", "lambda"));
        REQUIRE(refuses(approximate_r1{.sigma = x}, "approximate_r1", "sigma"));
        REQUIRE(refuses(dragan{.sigma = x}, "dragan", "sigma"));
    }
    for (const double x : {1.0, infinity, not_a_number}) REQUIRE(refuses(wgan_div{.power = x}, "wgan_div", "power"));
}
