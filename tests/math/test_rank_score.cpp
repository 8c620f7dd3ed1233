#include "rlgaf/math/rank_score.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;

namespace {

template <class T = double>
std::vector<double> scores(const std::vector<double>& f, const std::vector<double>& r, std::size_t width,
                           double gamma) {
    static rlgaf::workspace work;
    const std::vector<T> feature(f.begin(), f.end()), reference(r.begin(), r.end());
    std::vector<double> out(f.size() / width, not_a_number);
    const auto score = [&] {
        rlgaf::rank_score(std::span<const T>(feature), std::span<const T>(reference), width, gamma,
                          std::span<double>(out), work);
    };
    score();
    REQUIRE(allocations_of(score) == 0);
    return out;
}

}  // namespace

TEST_CASE("rank_score by hand: two references at right angles") {
    // a sample on the first: e^g / (e^g + 1) beside it, 1 / (1 + 1) beside the other (whose rival has the cosine 0)
    for (const double g : {0.5, 1.0, 4.0}) {
        const double on_it = std::exp(g) / (std::exp(g) + 1);
        REQUIRE(gap(scores({3, 0}, {1, 0, 0, 2}, 2, g), {std::log((on_it + 0.5) / 2)}) < 1e-14);
    }
    // away from both
    const double away = std::exp(-1 / std::sqrt(2));
    REQUIRE(gap(scores({-5, -5}, {1, 0, 0, 2}, 2, 1), {std::log(away / (away + 1))}) < 1e-14);
}

TEST_CASE("rank_score: where all cosines are equal the score is that of chance, whatever gamma") {
    for (const double gamma : {0.1, 1.0, 300.0})
        REQUIRE(gap(scores({2, 4, 1, 2}, {1, 2, 3, 6, 0.5, 1, 1, 2}, 2, gamma),
                    std::vector<double>(2, std::log(0.25))) < 1e-12 * (1 + gamma));
}

TEST_CASE("rank_score: closer samples score higher, within the stated range, and lengths do not matter") {
    dice d(1705);
    for (int round = 0; round < 300; ++round) {
        const std::size_t width = 2 + d.below(4), n = 1 + d.below(5), m = 2 + d.below(5);
        std::vector<double> f(n * width), r(m * width);
        for (double& v : f) v = d.normal();
        for (double& v : r) v = d.normal();
        const double gamma = d.chance(0.2) ? 300 : d.uniform(0.1, 10);
        const std::vector<double> s = scores(f, r, width, gamma);
        for (const double v : s) {
            REQUIRE(v <= 0);
            REQUIRE(v > -2 * gamma - std::log(static_cast<double>(m)));
        }
        std::vector<double> longer = f;
        for (std::size_t k = 0; k < f.size(); ++k) longer[k] *= 3 + static_cast<double>(k / width);
        REQUIRE(gap(scores(longer, r, width, gamma), s) < 1e-9);
        std::vector<double> towards(f.begin(), f.begin() + static_cast<std::ptrdiff_t>(width));
        std::vector<double> away = towards;
        for (std::size_t k = 0; k < width; ++k) towards[k] = r[k], away[k] = -r[k];
        const std::vector<double> one(r.begin(), r.begin() + static_cast<std::ptrdiff_t>(width));
        std::vector<double> pair = one;
        pair.insert(pair.end(), one.begin(), one.end());
        REQUIRE(scores(towards, pair, width, gamma)[0] > scores(away, pair, width, gamma)[0]);
        for (double& v : f) v = static_cast<double>(static_cast<float>(v));
        for (double& v : r) v = static_cast<double>(static_cast<float>(v));
        REQUIRE(gap(scores<float>(f, r, width, gamma), scores(f, r, width, gamma)) == 0);
    }
}

TEST_CASE("rank_score: rows of zeros, a single reference, none, no rows") {
    // all cosines are 0 beside a reference of zeros, and 0 with the other one too
    REQUIRE(gap(scores({0, 0}, {0, 0, 0, 0}, 2, 3), {std::log(0.5)}) < 1e-14);
    REQUIRE(gap(scores({0, 0}, {1, 0, 0, 1}, 2, 3), {std::log(0.5)}) < 1e-14);
    REQUIRE(gap(scores({1, 2, 3, 4}, {5, 6}, 2, 1), {0, 0}) == 0);
    REQUIRE(gap(scores({1, 2}, {}, 2, 1), {0}) == 0);
    REQUIRE(scores({}, {1, 2, 3, 4}, 2, 1).empty());
}

TEST_CASE("rank_score names what does not fit") {
    rlgaf::workspace work;
    const std::vector<double> four(4), three(3);
    std::vector<double> two(2), one(1);
    const auto message = [&](std::span<const double> f, std::span<const double> r, std::size_t width,
                             std::span<double> out) {
        return message_of<rlgaf::shape_error>([&] { rlgaf::rank_score(f, r, width, 1, out, work); });
    };
    REQUIRE(message(four, four, 1, two) == "rlgaf::rank_score: width: expected at least 2 numbers a row, got 1");
    REQUIRE(message(four, four, 0, two) == "rlgaf::rank_score: width: expected at least 2 numbers a row, got 0");
    REQUIRE(message(three, four, 2, two) == "rlgaf::rank_score: feature: expected 2 elements, got 3");
    REQUIRE(message(four, three, 2, two) == "rlgaf::rank_score: reference: expected 2 elements, got 3");
    REQUIRE(message(four, four, 2, one) == "rlgaf::rank_score: log_score: expected 2 elements, got 1");
    for (const double x : {0.0, -1.0, 301.0, not_a_number})
        REQUIRE_THROWS_AS(
            rlgaf::rank_score(std::span<const double>(four), std::span<const double>(four), 2, x, std::span(two), work),
            rlgaf::option_error);
}
