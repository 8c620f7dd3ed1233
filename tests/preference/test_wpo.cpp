#include "rlgaf/preference/dpo.hpp"
#include "rlgaf/preference/wpo.hpp"
#include "support/pair_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::wpo;

namespace {
template <class T = double>
std::vector<double> factors(const wpo& o, const pair_case& c, const table& collision = {},
                            layout how = layout::packed) {
    pair_arrays<T> arrays(c, how);
    ragged<T> log_collision(collision, how, std::numeric_limits<T>::quiet_NaN());
    rlgaf::workspace work;
    work.a = {1e12};
    std::vector<double> factor = {9, 9, 9};
    o(arrays.terms(), rlgaf::ragged_view<const T>(log_collision.view()), work, factor);
    return factor;
}
}  // namespace

TEST_CASE("wpo by hand: means of log-probs, with and without what a sample has on average") {
    const pair_case c{{{-1, -3}, {-0.5}}, {{0, 0}, {0}}, {}, {{0, 1}}};
    REQUIRE(gap(factors({}, c), {std::exp(-2.5)}) < 1e-15);
    // TRL: mean of (log p - log sum of p^2), both rows, multiplied.
    const table collision = {{-0.5, -2.5}, {-1}};
    REQUIRE(gap(factors({.cap = infinity}, c, collision), {std::exp(-0.5 + 0.5)}) < 1e-15);
    const table more = {{-2, -4}, {-1}};
    REQUIRE(gap(factors({.cap = infinity}, c, more), {std::exp(1.5)}) < 1e-14);
    REQUIRE(factors({}, c, more) == std::vector<double>{1});
    REQUIRE(factors({.cap = 0.01}, c) == std::vector<double>{0.01});
}

TEST_CASE("wpo agrees with the definition on random pairs, masked NaN, both layouts and float") {
    dice d(2406);
    for (int i = 0; i < 2000; ++i) {
        CAPTURE(i);
        pair_case c = random_pair_case(d);
        c.log_prob = as_float(c.log_prob);
        table collision;
        if (d.chance(0.5)) collision = as_float(table_like(c.log_prob, [&](auto, auto) { return d.uniform(-3, 0); }));
        const wpo o{.cap = d.chance(0.5) ? 1 : infinity};
        std::vector<double> expected;
        const auto mean = [&](std::size_t b) {
            double sum = 0, n = 0;
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
                if (included(c.mask, b, t)) sum += c.log_prob[b][t] - (collision.empty() ? 0 : collision[b][t]), n += 1;
            return n > 0 ? sum / n : 0;
        };
        for (const auto& pair : c.pairs)
            expected.push_back(std::fmin(o.cap, std::exp(mean(pair.chosen) + mean(pair.rejected))));
        const auto relative = [&](const std::vector<double>& x) {
            double worst = 0;
            for (std::size_t p = 0; p < expected.size(); ++p)
                worst = std::fmax(worst, gap(x[p], expected[p]) / (1 + expected[p]));
            return worst;
        };
        c.log_prob = table_like(
            c.log_prob, [&](auto b, auto t) { return included(c.mask, b, t) ? c.log_prob[b][t] : not_a_number; });
        const std::vector<double> got = factors(o, c, collision);
        REQUIRE(got.size() == c.pairs.size());
        REQUIRE(relative(got) < 1e-12);
        REQUIRE(same_bits(factors(o, c, collision, layout::padded), got));
        REQUIRE(relative(factors<float>(o, c, collision)) < 1e-5);
    }
}

TEST_CASE("wpo: rows without tokens weigh 1, log-probs of -1e4 nothing; it allocates nothing twice") {
    const pair_case c{{{}, {-1e4}, {-1}}, {{}, {0}, {0}}, {}, {{0, 2}, {1, 2}}};
    REQUIRE(gap(factors({}, c), {std::exp(-1), 0}) < 1e-15);
    REQUIRE(factors({}, pair_case{}).empty());
    pair_arrays<float> arrays(c, layout::padded);
    const auto terms = arrays.terms();
    rlgaf::workspace work;
    std::vector<double> factor;
    const auto call = [&] { wpo{}(terms, {}, work, factor); };
    call();
    REQUIRE(allocations_of(call) == 0);
}

TEST_CASE("wpo refuses shapes, pairs and options by name") {
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE(refuses(wpo{.cap = x}, "wpo", "cap"));
    const pair_case c{{{-1, -2}, {-1}, {-1}}, {{-1, -2}, {-1}, {-1}}, {}, {{0, 1}}};
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                factors({}, c, {{1}, {1}, {1}}, layout::padded);
            }) == "rlgaf::wpo: log_collision row 0: expected 2 tokens, got 1");
    check_pair_errors("wpo", [&](const pair_list& pairs) {
        pair_case bad = c;
        bad.pairs = pairs;
        factors({}, bad);
    });
}
