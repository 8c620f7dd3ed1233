#include <algorithm>
#include <numeric>
#include <vector>

#include "rlgaf/core/random.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::philox4x32;
using rlgaf::random_stream;
using rlgaf::sample_categorical;
using rlgaf::stream;
using words = std::array<std::uint32_t, 4>;

TEST_CASE("Philox4x32-10 gives the published known answers") {
    // Salmon et al. 2011, file kat_vectors of the Random123 distribution.
    const std::uint32_t ones = 0xFFFFFFFF;
    REQUIRE(philox4x32({0, 0, 0, 0}, {0, 0}) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    REQUIRE(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
            words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    REQUIRE(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
            words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
    static_assert(philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
}

TEST_CASE("Random words come from [token | draw << 24, sample low, sample high << 16 | stream, step], key = seed") {
    const random_stream random({.seed = 0x299f31d0'a4093822, .step = 0xDEADBEEF}, stream::replay, 0x1234'89ABCDEF);
    const std::uint32_t purpose = static_cast<std::uint32_t>(stream::replay);
    REQUIRE(random.bits(0xABCDEF, 0x42) ==
            philox4x32({0x42ABCDEF, 0x89ABCDEF, 0x12340000u | purpose, 0xDEADBEEF}, {0xa4093822, 0x299f31d0}));
    REQUIRE(random_stream({}, stream::rollout).bits(0) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
}

TEST_CASE("The values of streams are part of every run's identity and never move") {
    const stream order[] = {stream::rollout,        stream::rollout_from, stream::prompts, stream::experts,
                            stream::shuffle,        stream::replay,       stream::dropout, stream::noise,
                            stream::initialization, stream::environment,  stream::user};
    for (std::size_t i = 0; i < std::size(order); ++i) REQUIRE(static_cast<std::size_t>(order[i]) == i);
}

TEST_CASE("A uniform number is the first 53 bits of a draw, in [0, 1)") {
    REQUIRE(random_stream({}, stream::rollout).uniform(0) == std::ldexp(0x6627e8d5e169c58d >> 11, -53));
    const random_stream random({.seed = 7, .step = 1}, stream::noise);
    double sum = 0, squares = 0;
    const std::uint32_t n = 40000;
    for (std::uint32_t t = 0; t < n; ++t) {
        const double u = random.uniform(t);
        REQUIRE((u >= 0 && u < 1));
        sum += u, squares += u * u;
    }
    REQUIRE(gap(sum / n, 0.5) < 5 * std::sqrt(1.0 / 12 / n));
    REQUIRE(gap(squares / n, 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
}

TEST_CASE("below(n) is below n, even, and n times the fraction that the first two words spell") {
    const random_stream random({.seed = 3, .step = 0}, stream::user);
    for (const std::uint64_t n : {1ull, 2ull, 3ull, 7ull, 1000ull, 0xFFFFFFFFull})
        for (std::uint32_t t = 0; t < 2000; ++t) {
            const auto w = random.bits(t, 5);
            const std::uint64_t x = random.below(n, t, 5);
            REQUIRE(x < n);
            // floor(n * u) for the fraction u whose bits are the first two words
            const double scaled = std::ldexp(static_cast<double>(w[0]), -32) * static_cast<double>(n) +
                                  std::ldexp(static_cast<double>(w[1]), -64) * static_cast<double>(n);
            REQUIRE(gap(static_cast<double>(x) + 0.5, scaled) <= 0.5 + 1e-6);
        }
    int count[7] = {};
    for (std::uint32_t t = 0; t < 70000; ++t) ++count[random.below(7, t)];
    double chi = 0;
    for (const int c : count) chi += std::pow(c - 10000.0, 2) / 10000;
    REQUIRE(chi < 22.5);  // 6 degrees of freedom, p = 0.001
}

TEST_CASE("normal(token) has the moments of a standard normal and its tails") {
    const random_stream random({.seed = 11, .step = 0}, stream::noise);
    const std::uint32_t n = 40000;
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, beyond = 0;
    for (std::uint32_t t = 0; t < n; ++t) {
        const double x = random.normal(t);
        m1 += x / n, m2 += x * x / n, m3 += x * x * x / n, m4 += x * x * x * x / n;
        beyond += std::abs(x) > 1.959964;
    }
    const double root = std::sqrt(static_cast<double>(n));
    REQUIRE(gap(m1, 0) < 5 / root);
    REQUIRE(gap(m2, 1) < 5 * std::sqrt(2) / root);
    REQUIRE(gap(m3, 0) < 5 * std::sqrt(15) / root);
    REQUIRE(gap(m4, 3) < 5 * std::sqrt(96) / root);
    REQUIRE(gap(beyond / n, 0.05) < 5 * std::sqrt(0.05 * 0.95) / root);
}

TEST_CASE("Seed, step, stream, sample, token and draw each change the number") {
    const auto draw = [](std::uint64_t seed, std::uint32_t step, stream s, std::uint64_t sample, std::uint32_t token,
                         std::uint32_t d) {
        return random_stream({.seed = seed, .step = step}, s, sample).uniform(token, d);
    };
    const double all[] = {draw(1, 1, stream::noise, 1, 1, 1),          draw(2, 1, stream::noise, 1, 1, 1),
                          draw(1ull << 40, 1, stream::noise, 1, 1, 1), draw(1, 2, stream::noise, 1, 1, 1),
                          draw(1, 1, stream::user, 1, 1, 1),           draw(1, 1, stream::noise, 2, 1, 1),
                          draw(1, 1, stream::noise, 1ull << 40, 1, 1), draw(1, 1, stream::noise, 1, 2, 1),
                          draw(1, 1, stream::noise, 1, 1, 2)};
    for (std::size_t i = 0; i < std::size(all); ++i)
        for (std::size_t j = 0; j < i; ++j) REQUIRE(all[i] != all[j]);
}

TEST_CASE("sample_categorical scans in order and never returns a zero weight") {
    const std::vector<double> weight = {0, 1, 0, 3, 0};
    const auto at = [&](double u) { return sample_categorical(std::span<const double>(weight), u); };
    REQUIRE(at(0) == 1);
    REQUIRE(at(0.2499) == 1);
    REQUIRE(at(0.25) == 3);
    REQUIRE(at(1 - 0x1p-53) == 3);
    // Where the total was rounded up, a rest is left after the last positive weight: that weight is returned, not the
    // zeros behind it.
    std::vector<double> rounded = {1};
    rounded.resize(11, 0.75 * 0x1p-52);
    rounded.resize(13, 0.0);
    REQUIRE(sample_categorical(std::span<const double>(rounded), 1 - 0x1p-53) == 10);

    const random_stream random({.seed = 5, .step = 0}, stream::user);
    const std::vector<double> p = {0.1, 0, 0.6, 0.3};
    double count[4] = {};
    for (std::uint32_t t = 0; t < 40000; ++t)
        ++count[sample_categorical(std::span<const double>(p), random.uniform(t))];
    for (std::size_t k = 0; k < 4; ++k) REQUIRE(gap(count[k] / 40000, p[k]) < 5 * std::sqrt(0.25 / 40000));
    REQUIRE(count[1] == 0);
}

TEST_CASE("sample_categorical refuses weights without a positive sum") {
    const auto message = [](const std::vector<double>& weight) {
        return message_of<rlgaf::numeric_error>([&] { sample_categorical(std::span<const double>(weight), 0.5); });
    };
    REQUIRE(message({}) == "rlgaf::sample_categorical: weight: expected a positive sum, got 0");
    REQUIRE(message({0, 0}) == "rlgaf::sample_categorical: weight: expected a positive sum, got 0");
    REQUIRE(message({1, not_a_number}).find("got ") != std::string::npos);
    REQUIRE(message({1}) == "nothing thrown");
}

TEST_CASE("shuffle gives every order equally often, and the same one for the same key") {
    int count[6] = {};
    for (std::uint32_t step = 0; step < 12000; ++step) {
        std::vector<int> x = {0, 1, 2}, again = x;
        rlgaf::shuffle(std::span<int>(x), {.seed = 1, .step = step});
        rlgaf::shuffle(std::span<int>(again), {.seed = 1, .step = step});
        REQUIRE(x == again);
        ++count[x[0] * 2 + (x[1] > x[2])];
        std::sort(x.begin(), x.end());
        REQUIRE(x == std::vector<int>{0, 1, 2});
    }
    double chi = 0;
    for (const int c : count) chi += std::pow(c - 2000.0, 2) / 2000;
    REQUIRE(chi < 20.5);  // 5 degrees of freedom, p = 0.001
    std::vector<int> none, one = {4};
    rlgaf::shuffle(std::span<int>(none), {});
    rlgaf::shuffle(std::span<int>(one), {});
    REQUIRE(one[0] == 4);
}

TEST_CASE("shuffle takes another order from another stream; `shuffle` is the default") {
    const auto order = [](auto... which) {
        std::vector<int> x(20);
        std::iota(x.begin(), x.end(), 0);
        rlgaf::shuffle(std::span<int>(x), {.seed = 3, .step = 2}, 7, which...);
        return x;
    };
    REQUIRE(order() == order(stream::shuffle));
    REQUIRE(order(stream::discriminator) == order(stream::discriminator));
    REQUIRE(order(stream::discriminator) != order(stream::shuffle));
    REQUIRE(order(stream::discriminator) != order(stream::user));
    std::vector<int> sorted = order(stream::discriminator);
    std::sort(sorted.begin(), sorted.end());
    for (int i = 0; i < 20; ++i) REQUIRE(sorted[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("The numbers of the streams stay: new ones are added at the end") {
    REQUIRE(static_cast<int>(stream::rollout) == 0);
    REQUIRE(static_cast<int>(stream::shuffle) == 4);
    REQUIRE(static_cast<int>(stream::user) == 10);
    REQUIRE(static_cast<int>(stream::discriminator) == 11);
}
