#include "rlgaf/math/aggregation.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::aggregate;
using rlgaf::aggregation;

namespace {
std::vector<double> weights(const aggregate& a, const std::vector<std::uint32_t>& count,
                            const std::vector<std::uint32_t>& group = {}, std::size_t groups = 0) {
    std::vector<double> w(count.size(), 77.0);
    rlgaf::workspace work;
    work.a = {5, 6};
    a(count, {group, groups}, work, w);
    return w;
}
/// sum of w_i times the row's summed loss
double loss(const std::vector<double>& w, const std::vector<double>& row_sum) {
    double total = 0;
    for (std::size_t i = 0; i < w.size(); ++i) total += w[i] * row_sum[i];
    return total;
}
}  // namespace

TEST_CASE("Two rows with losses 1, 2, 3 and 10: the formula sheet's golden vectors") {
    const std::vector<std::uint32_t> n = {3, 1};
    const std::vector<double> sums = {6, 10};
    REQUIRE(gap(loss(weights({.mode = aggregation::token_mean}, n), sums), 4) < 1e-15);
    REQUIRE(gap(loss(weights({.mode = aggregation::sequence_sum}, n), sums), 8) < 1e-15);
    REQUIRE(gap(loss(weights({.mode = aggregation::sequence_mean}, n), sums), 6) < 1e-15);
    REQUIRE(gap(loss(weights({.mode = aggregation::constant_length, .constant_length = 4}, n), sums), 2) < 1e-15);
    REQUIRE(gap(loss(weights({.mode = aggregation::sum}, n), sums), 16) < 1e-15);
    REQUIRE(gap(loss(weights({.mode = aggregation::prompt_mean}, n, {0, 0}, 1), sums), 4) < 1e-15);
    REQUIRE(gap(loss(weights({.mode = aggregation::prompt_mean}, n, {1, 0}, 2), sums), 6) < 1e-15);
}

TEST_CASE("Rows without tokens get 0 and count in B of the constant length only") {
    const std::vector<std::uint32_t> n = {2, 0, 4, 0};
    REQUIRE(gap(weights({.mode = aggregation::token_mean}, n), {1.0 / 6, 0, 1.0 / 6, 0}) < 1e-15);
    REQUIRE(gap(weights({.mode = aggregation::sequence_mean}, n), {0.25, 0, 0.125, 0}) < 1e-15);
    REQUIRE(gap(weights({.mode = aggregation::sequence_sum}, n), {0.5, 0, 0.5, 0}) < 1e-15);
    REQUIRE(gap(weights({.mode = aggregation::constant_length, .constant_length = 10}, n), {0.025, 0, 0.025, 0}) <
            1e-15);
    REQUIRE(gap(weights({.mode = aggregation::sum}, n), {1, 0, 1, 0}) < 1e-15);
    // Groups 0 and 3 have tokens, 1 and 2 have none: P+ = 2.
    REQUIRE(gap(weights({.mode = aggregation::prompt_mean}, n, {3, 1, 0, 0}, 4), {0.25, 0, 0.125, 0}) < 1e-15);
}

TEST_CASE("No rows and no tokens: all weights 0, in every mode") {
    for (int mode = 0; mode < 6; ++mode) {
        const aggregate a{.mode = static_cast<aggregation>(mode), .constant_length = 4};
        REQUIRE(weights(a, {}).empty());
        REQUIRE(gap(weights(a, {0, 0}, {0, 0}, 1), {0, 0}) == 0);
    }
}

TEST_CASE("Every mean mode gives a loss of 1 on every token the value 1") {
    dice d(3);
    for (int i = 0; i < 500; ++i) {
        std::vector<std::uint32_t> n(1 + d.below(6)), group;
        for (auto& v : n)
            v = static_cast<std::uint32_t>(d.below(5)), group.push_back(static_cast<std::uint32_t>(d.below(3)));
        n[0] = 3;
        const std::vector<double> ones(n.begin(), n.end());
        for (const aggregation mode : {aggregation::token_mean, aggregation::sequence_mean, aggregation::prompt_mean})
            REQUIRE(gap(loss(weights({.mode = mode}, n, group, 3), ones), 1) < 1e-12);
    }
}

TEST_CASE("aggregate refuses what does not fit, by name") {
    for (const double x : {0.0, -1.0, not_a_number}) {
        const aggregate bad{.mode = aggregation::constant_length, .constant_length = x};
        REQUIRE(refuses(bad, "aggregate", "constant_length"));
        REQUIRE_THROWS_AS(weights(bad, {1}), rlgaf::option_error);
        REQUIRE_NOTHROW(aggregate{.mode = aggregation::token_mean, .constant_length = x}.check());
    }
    const aggregate by_prompt{.mode = aggregation::prompt_mean};
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                weights(by_prompt, {1, 1}, {0}, 1);
            }) == "rlgaf::aggregate: groups.id: expected 2 elements, got 1");
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                weights(by_prompt, {1, 1}, {0, 2}, 2);
            }) == "rlgaf::aggregate: groups.id[1]: expected below 2, got 2");
    std::vector<double> w(3);
    rlgaf::workspace work;
    const std::uint32_t count[] = {1, 1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { aggregate{}(count, {}, work, w); }) ==
            "rlgaf::aggregate: weight: expected 2 elements, got 3");
}

TEST_CASE("aggregate and count_tokens allocate nothing once they are warm") {
    const std::uint32_t count[] = {1, 2}, group[] = {0, 1};
    std::vector<double> w(2);
    rlgaf::workspace work;
    const aggregate by_prompt{.mode = aggregation::prompt_mean};
    by_prompt(count, {group, 2}, work, w);
    REQUIRE(allocations_of([&] { by_prompt(count, {group, 2}, work, w); }) == 0);
    ragged<float> x({{1, 2}, {3}}, layout::packed, 0);
    const auto view = x.view();
    std::uint32_t n[2];
    REQUIRE(allocations_of([&] { rlgaf::count_tokens(view, {}, std::span<std::uint32_t>(n)); }) == 0);
}

TEST_CASE("count_tokens counts any non-zero mask, in both layouts, and refuses other shapes") {
    const table shape = {{0, 0, 0}, {}, {0, 0}}, mask = {{1, 0, 7}, {}, {0, 255}};
    for (const layout how : layouts) {
        ragged<float> x(shape, how, 0);
        ragged<std::uint8_t> m(mask, how, 1), wrong({{1}, {}, {1, 1}}, how, 1);
        std::vector<std::uint32_t> n(3, 77);
        rlgaf::count_tokens(x.view(), m.view(), std::span<std::uint32_t>(n));
        REQUIRE(n == std::vector<std::uint32_t>{2, 0, 1});
        rlgaf::count_tokens(x.view(), {}, std::span<std::uint32_t>(n));
        REQUIRE(n == std::vector<std::uint32_t>{3, 0, 2});
        REQUIRE(message_of<rlgaf::shape_error>([&] {
                    rlgaf::count_tokens(x.view(), wrong.view(), std::span<std::uint32_t>(n));
                }) == "rlgaf::count_tokens: mask row 0: expected 3 tokens, got 1");
        REQUIRE(message_of<rlgaf::shape_error>([&] {
                    rlgaf::count_tokens(x.view(), {}, std::span<std::uint32_t>(n).first(2));
                }) == "rlgaf::count_tokens: count: expected 3 elements, got 2");
    }
}

TEST_CASE("check_matching names the sample whose demonstration does not exist") {
    const std::uint32_t pairs[] = {0, 2};
    REQUIRE_NOTHROW(rlgaf::detail::check_matching({pairs}, 3, 2, "f"));
    REQUIRE(message_of<rlgaf::shape_error>([&] { rlgaf::detail::check_matching({pairs}, 2, 2, "f"); }) ==
            "rlgaf::f: matching.real_of_fake[1]: expected below 2, got 2");
    REQUIRE(message_of<rlgaf::shape_error>([&] { rlgaf::detail::check_matching({pairs}, 3, 3, "f"); }) ==
            "rlgaf::f: matching.real_of_fake: expected 3 elements, got 2");
}
