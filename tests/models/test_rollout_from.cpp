#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cstring>

#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/point_mass.hpp"
#include "rlgaf/models/two_turn.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

/// What every backend with the ability continues_prefixes owes.
using namespace rlgaf;
using rlgaf_test::ids;
using rlgaf_test::message_of;

static_assert(continues_prefixes<ngram_policy<float>> && continues_prefixes<ngram_policy<double, token_prompts>>);
static_assert(continues_prefixes<two_turn_policy<float>> && continues_prefixes<point_mass_policy<float>>);

namespace {

token_prompts prompts_of(std::size_t n) {
    token_prompts prompts;
    for (std::size_t i = 0; i < n; ++i) {
        const auto t = static_cast<std::int32_t>(i % 3);
        prompts.add(std::vector<std::int32_t>(1 + i % 2, t));
    }
    return prompts;
}

template <class T, class Prompts = no_prompts>
ngram_policy<T, Prompts> table() {
    return ngram_policy<T, Prompts>(
        {.shape = {.vocabulary = 4, .order = 3}, .max_length = 6, .initial_spread = 0.8, .seed = 3});
}
template <class T>
two_turn_policy<T> talker(double noise = 0.5) {
    return two_turn_policy<T>(
        {.model = {.shape = {.vocabulary = 4, .order = 3}, .max_length = 6, .initial_spread = 0.5}},
        lookup_tool{.noise = noise});
}
template <class T>
lstm_policy<T> recurrent(std::size_t hidden = 7) {
    lstm_policy<T> p({.vocabulary = 4, .embedding = 3, .hidden = hidden, .end_token = 0, .max_length = 6, .seed = 11});
    for (T& w : p.parameters()[4].values) w *= 3;  // not uniform
    return p;
}

/// Every prefix of every row, the empty one and the whole row among them, each three times.
template <class B>
std::vector<prefix> all_prefixes(const B& b, bool whole_replies = true) {
    std::vector<prefix> from;
    for (std::size_t i = 0; i < rows(b); ++i)
        for (std::uint32_t n = 0; n <= lengths(b)[i]; ++n) {
            if constexpr (batch_has::mask<B>) {
                const mask_view m = mask(b);
                if (whole_replies && !m.empty() && n > 0 && n < lengths(b)[i] && !m.row(i)[n - 1] && !m.row(i)[n])
                    continue;
            }
            from.insert(from.end(), 3, {i, n});
        }
    return from;
}

/// Equal bits, NaN included.
template <class T>
bool same(std::span<const T> a, std::span<const T> b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

template <class P>
void check_contract(P& policy, const typename P::batch& b) {
    using T = typename P::scalar;
    const std::vector<prefix> from = all_prefixes(b);
    const rng_key key{5, 2};
    const rollout_options o{.max_length = 6};
    const auto more = policy.rollout_from(b, from, ids(from.size(), 100), o, key);
    REQUIRE(rows(more) == from.size());
    ragged_buffer<T> evaluated;
    evaluated.assign(lengths(more));
    policy.evaluate(more, {.log_prob = evaluated.view()});
    const auto old_token = tokens(b), token = tokens(more);
    const auto old = behaviour_log_prob(b), now = behaviour_log_prob(more);
    const mask_view included = mask(more);
    std::size_t longer = 0, ended = 0;
    for (std::size_t i = 0; i < from.size(); ++i) {
        const auto [row, n] = from[i];
        REQUIRE(same(token.row(i).first(n), old_token.row(row).first(n)));
        REQUIRE(same(now.row(i).first(n), old.row(row).first(n)));
        if (!mask(b).empty()) {
            REQUIRE(same(included.row(i).first(n), mask(b).row(row).first(n)));
        }
        REQUIRE(more.length[i] <= 6);
        REQUIRE(more.temperature[i] == 1);
        const bool end_token = more.length[i] > 0 && token.row(i).back() == 0;
        REQUIRE((more.end[i] == row_end::terminated) == end_token);
        if (more.end[i] == row_end::truncated) {
            REQUIRE(more.length[i] == 6);
        }
        if (n == b.length[row] && b.end[row] == row_end::terminated) {
            REQUIRE(more.length[i] == n);
            ++ended;
        }
        if (rows(b.prompt) > 0) {
            REQUIRE(same(more.prompt.row(i), b.prompt.row(row)));
        }
        longer += more.length[i] > n;
        for (std::size_t t = n; t < more.length[i]; ++t)
            if (included.empty() || included.row(i)[t]) {
                REQUIRE(static_cast<double>(now.row(i)[t]) ==
                        Approx(static_cast<double>(evaluated.view().row(i)[t])).epsilon(1e-5));
            }
    }
    REQUIRE(longer > from.size() / 3);
    REQUIRE(ended > 0);

    // A row is a function of its prefix, its id and the key: alone, or among others in another order.
    std::vector<std::size_t> order(from.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    shuffle(std::span(order), {9, 0});
    std::vector<prefix> some;
    std::vector<std::uint64_t> id;
    for (std::size_t i = 0; i < order.size(); i += 2) {
        some.push_back(from[order[i]]);
        id.push_back(100 + order[i]);
    }
    const auto again = policy.rollout_from(b, some, id, o, key);
    for (std::size_t i = 0; i < some.size(); ++i) {
        REQUIRE(same(again.row(i), more.row(order[2 * i])));
        REQUIRE(same(behaviour_log_prob(again).row(i), now.row(order[2 * i])));
    }
    for (std::size_t i = 0; i < from.size(); i += 1 + from.size() / 20) {
        const auto alone = policy.rollout_from(b, std::span(from).subspan(i, 1), ids(1, 100 + i), o, key);
        REQUIRE(same(alone.row(0), more.row(i)));
        REQUIRE(same(behaviour_log_prob(alone).row(0), now.row(i)));
    }

    // Lengths count what is kept.
    const auto brief = policy.rollout_from(b, std::vector<prefix>{{0, 0}, {0, 1}}, ids(2), {.max_length = 1}, key);
    REQUIRE(brief.length == std::vector<std::uint32_t>{1, 1});
    REQUIRE(rows(policy.rollout_from(b, {}, {}, {}, key)) == 0);

    // Without log-probs, those of the policy, at the temperature of the sampling.
    auto bare = b;
    bare.log_prob.clear();
    const rollout_options warm{.temperature = 1.5, .max_length = 6};
    const auto known = policy.rollout_from(b, from, ids(from.size(), 100), warm, key);
    const auto found = policy.rollout_from(bare, from, ids(from.size(), 100), warm, key);
    REQUIRE(found.token == known.token);
    evaluated.assign(lengths(found));
    REQUIRE(found.temperature == std::vector<double>(from.size(), 1.5));
    policy.evaluate(found, {.log_prob = evaluated.view()});
    for (std::size_t i = 0; i < found.token.size(); ++i)
        if (found.mask.empty() || found.mask[i]) {
            REQUIRE(static_cast<double>(found.log_prob[i]) ==
                    Approx(static_cast<double>(evaluated.flat()[i])).epsilon(1e-5));
        }

    const std::vector<prefix> no_row = {{rows(b), 0}}, too_long = {{0, b.length[0] + 1}}, one = {{0, 1}};
    CHECK_THROWS_AS(policy.rollout_from(b, no_row, ids(1), o, key), shape_error);
    CHECK_THROWS_AS(policy.rollout_from(b, too_long, ids(1), o, key), shape_error);
    CHECK_THROWS_AS(policy.rollout_from(b, one, ids(2), o, key), shape_error);
    CHECK_THROWS_AS(policy.rollout_from(b, one, ids(1), {.temperature = 0}, key), option_error);
    std::size_t full = 0;
    while (b.length[full] < 3) ++full;
    const std::vector<prefix> three = {{full, 3}};
    CHECK_THROWS_AS(policy.rollout_from(b, three, ids(1), {.max_length = 2}, key), shape_error);
}

/// Frequencies of all continuations of a prefix against exp(sum of log-probs).
template <class P>
void check_frequencies(P& policy, const rollout_options& o, std::uint32_t kept) {
    token_batch<double> b;
    b.add(std::vector<std::int32_t>{2, 1, 3, 2}, row_end::truncated);
    token_batch<double> all;
    std::vector<std::int32_t> row(b.row(0).begin(), b.row(0).begin() + kept);
    const auto extend = [&](const auto& self) -> void {
        if (row.size() > kept && (row.back() == 0 || row.size() == o.max_length)) {
            all.add(row, row.back() == 0 ? row_end::terminated : row_end::truncated, {}, o.temperature);
            return;
        }
        for (std::int32_t v = 0; v < 4; ++v) {
            row.push_back(v);
            self(self);
            row.pop_back();
        }
    };
    extend(extend);
    ragged_buffer<double> log_prob;
    log_prob.assign(lengths(all));
    policy.evaluate(all, {.log_prob = log_prob.view()});
    const std::size_t n = 20000;
    const auto drawn = policy.rollout_from(b, std::vector<prefix>(n, {0, kept}), ids(n), o, {4, 1});
    double total = 0;
    for (std::size_t i = 0; i < rows(all); ++i) {
        double p = 0;
        for (std::size_t t = kept; t < all.length[i]; ++t) p += log_prob.view().row(i)[t];
        p = std::exp(p);
        total += p;
        double count = 0;
        for (std::size_t j = 0; j < n; ++j) count += same(drawn.row(j), all.row(i));
        const double expected = static_cast<double>(n) * p;
        REQUIRE(std::abs(count - expected) < 5 * std::sqrt(expected * (1 - p)) + 1);
    }
    REQUIRE(total == Approx(1).epsilon(1e-9));
}

}  // namespace

TEMPLATE_TEST_CASE("rollout_from: the contract", "[models]", float, double) {
    const std::size_t n = 150;
    auto plain = table<TestType>();
    check_contract(plain, plain.rollout({}, ids(n), {}, {}));
    auto asked = table<TestType, token_prompts>();
    check_contract(asked, asked.rollout(prompts_of(n), ids(n), {}, {}));
    auto net = recurrent<TestType>();
    check_contract(net, net.rollout({}, ids(n), {}, {}));
    check_contract(net, net.rollout(prompts_of(n), ids(n), {}, {}));
    auto with_tool = talker<TestType>();
    check_contract(with_tool, with_tool.rollout(prompts_of(n), ids(n), {}, {}));
    auto demonstrated = asked.rollout(prompts_of(n), ids(n), {}, {});  // with masks that no tool made
    demonstrated.mask.assign(demonstrated.token.size(), 1);
    for (std::size_t i = 0; i < demonstrated.mask.size(); i += 3) demonstrated.mask[i] = 0;
    check_contract(asked, demonstrated);
    check_contract(net, demonstrated);
}

TEST_CASE("rollout_from: continuations come as often as they should", "[models]") {
    auto plain = table<double>();
    auto net = recurrent<double>();
    for (const rollout_options& o :
         {rollout_options{.max_length = 4}, rollout_options{.temperature = 0.6, .max_length = 3}})
        for (const std::uint32_t kept : {0u, 1u, 2u}) {
            check_frequencies(plain, o, kept);
            check_frequencies(net, o, kept);
        }
}

TEST_CASE("rollout_from: top_k and random numbers of its own", "[models]") {
    const auto check = [](auto policy) {
        const std::size_t n = 300;
        const auto b = policy.rollout({}, ids(n), {}, {7, 7});
        const std::vector<prefix> nothing(n, {0, 0}), first(n, {0, 1});
        CHECK(policy.rollout_from(b, nothing, ids(n), {}, {7, 7}).token != b.token);
        const auto greedy = policy.rollout_from(b, first, ids(n), {.top_k = 1}, {7, 7});
        for (std::size_t i = 1; i < n; ++i) REQUIRE(same(greedy.row(i), greedy.row(0)));
        for (std::size_t t = 1; t < greedy.length[0]; ++t) CHECK(greedy.log_prob[t] == Approx(0).margin(1e-12));
        CHECK(greedy.log_prob[0] == b.log_prob[0]);
    };
    check(table<double>());
    check(recurrent<double>());
}

TEST_CASE("rollout_from: the same rows on any number of threads", "[models]") {
    auto net = recurrent<float>(64);  // enough work for several threads, and for several blocks of states
    const auto b = net.rollout({}, ids(200), {}, {});
    const std::vector<prefix> from = all_prefixes(b);
    const auto one = net.rollout_from(b, from, ids(from.size()), {}, {});
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    for (const int threads : {1, 2, 5}) {
        omp_set_num_threads(threads);
        const auto more = net.rollout_from(b, from, ids(from.size()), {}, {});
        CHECK(more.token == one.token);
        CHECK(more.log_prob == one.log_prob);
    }
    omp_set_num_threads(before);
#endif
    for (std::size_t i = 0; i < from.size(); i += 101) {
        const auto alone = net.rollout_from(b, std::span(from).subspan(i, 1), ids(1, i), {}, {});
        REQUIRE(same(alone.row(0), one.row(i)));
        REQUIRE(same(behaviour_log_prob(alone).row(0), behaviour_log_prob(one).row(i)));
    }
}

TEST_CASE("rollout_from: the tool is asked anew, and never in half a reply", "[models]") {
    // Replies are uniform over two tokens; a query of one token ends the row with "end" or has the tool asked.
    auto p = talker<double>(1);
    const std::size_t n = 4000;
    const auto b = p.rollout(prompts_of(60), ids(60), {}, {});
    std::size_t row = 0;
    std::uint32_t query = 0;  // tokens before the first reply
    for (; row < rows(b); ++row) {
        const auto included = mask(b).row(row);
        query = static_cast<std::uint32_t>(std::ranges::find(included, std::uint8_t{0}) - included.begin());
        if (query < b.length[row]) break;
    }
    REQUIRE(row < rows(b));
    const auto more = p.rollout_from(b, std::vector<prefix>(n, {row, query}), ids(n), {}, {});
    double other = 0;
    for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(same(more.row(i).first(query), b.row(row).first(query)));
        REQUIRE(!mask(more).row(i)[query]);
        REQUIRE(std::isnan(behaviour_log_prob(more).row(i)[query]));
        const std::int32_t reply = more.row(i)[query];
        REQUIRE((reply == 2 || reply == 3));
        other += reply == 2;
    }
    CHECK(std::abs(other - n / 2.0) < 5 * std::sqrt(n / 4.0));
    // Not the replies that the rollouts with the same ids had.
    const auto first = p.rollout(prompts_of(60), ids(60), {}, {});
    std::size_t compared = 0, equal = 0;
    for (std::size_t i = 0; i < 60; ++i)
        for (std::size_t t = 0; t < first.length[i]; ++t)
            if (!mask(first).row(i)[t]) {
                ++compared;
                equal += first.row(i)[t] == more.row(i)[query];
            }
    CHECK(compared > 20);
    CHECK(equal < compared);

    token_batch<double> half;
    half.add(std::vector<std::int32_t>{1, 2, 3, 2, 0}, row_end::terminated, {}, 1,
             std::vector<std::uint8_t>{1, 0, 0, 1, 1});
    half.prompt.add(std::vector<std::int32_t>{1});
    const std::vector<prefix> within = {{0, 2}}, after = {{0, 3}};
    CHECK(message_of<shape_error>([&] { p.rollout_from(half, within, ids(1), {}, {}); }) ==
          "rlgaf::two_turn_policy::rollout_from: from: expected prefixes with whole replies, got row 0, length 2");
    const auto answered = p.rollout_from(half, after, ids(1), {}, {});
    CHECK(answered.row(0)[2] == 3);
    CHECK(std::ranges::count(answered.mask, 0) == 2);
    half.prompt = {};
    CHECK_THROWS_AS(p.rollout_from(half, after, ids(1), {}, {}), shape_error);
}

TEMPLATE_TEST_CASE("rollout_from: a point mass goes on from where it was", "[models]", float, double) {
    const point_mass_world world{.horizon = 20};
    point_mass_policy<TestType> p({.world = world, .initial_std = 1});
    p.parameters()[0].values[0] = -2;
    p.parameters()[0].values[1] = TestType(-2.5);
    const auto b = p.rollout({}, ids(80), {}, {3, 0});
    std::vector<prefix> from;
    for (std::size_t i = 0; i < rows(b); ++i)
        for (std::uint32_t n = 0; n <= b.length[i]; ++n)
            if (n % 3 == 0 || n == b.length[i]) from.push_back({i, n});
    const auto more = p.rollout_from(b, from, ids(from.size(), 1000), {.max_length = 25}, {3, 0});
    REQUIRE(rows(more) == from.size());
    ragged_buffer<TestType> evaluated;
    evaluated.assign(lengths(more));
    p.evaluate(more, {.log_prob = evaluated.view()});
    std::size_t ended = 0, moved = 0;
    for (std::size_t i = 0; i < from.size(); ++i) {
        const std::size_t row = from[i].row;
        const std::uint32_t n = from[i].length;
        const std::size_t first = more.offset[i], old = b.offset[row];
        const auto equal = [&](const auto& x, const auto& y) {
            return std::equal(x.begin() + static_cast<std::ptrdiff_t>(first),
                              x.begin() + static_cast<std::ptrdiff_t>(first + n),
                              y.begin() + static_cast<std::ptrdiff_t>(old));
        };
        REQUIRE((equal(more.action, b.action) && equal(more.position, b.position) && equal(more.velocity, b.velocity)));
        REQUIRE((equal(more.reward, b.reward) && equal(more.log_prob, b.log_prob)));
        if (n == b.length[row] && b.end[row] == row_end::terminated) {
            REQUIRE(more.length[i] == n);
            REQUIRE(more.end[i] == row_end::terminated);
            ++ended;
        } else {
            REQUIRE((more.end[i] == row_end::terminated || more.length[i] == 25));
        }
        if (n < b.length[row] && more.length[i] > n) moved += more.action[first + n] != b.action[old + n];
        for (std::size_t t = 0; t < more.length[i]; ++t) {
            const bool last = t + 1 == more.length[i];
            const double x = static_cast<double>(more.position[first + t]),
                         v = static_cast<double>(more.velocity[first + t]);
            const double force = std::clamp(static_cast<double>(more.action[first + t]), -2.0, 2.0);
            const double speed = v + 0.1 * (force - 0.1 * v);
            REQUIRE(static_cast<double>(last ? more.last_velocity[i] : more.velocity[first + t + 1]) ==
                    Approx(speed).margin(1e-5));
            REQUIRE(static_cast<double>(last ? more.last_position[i] : more.position[first + t + 1]) ==
                    Approx(x + 0.1 * speed).margin(1e-5));
            REQUIRE(static_cast<double>(more.log_prob[first + t]) ==
                    Approx(static_cast<double>(evaluated.view().row(i)[t])).margin(1e-4));
        }
    }
    CHECK(ended > 3);
    CHECK(moved > 100);
    auto bare = b;
    bare.log_prob.clear();
    const auto found = p.rollout_from(bare, from, ids(from.size(), 1000), {.max_length = 25}, {3, 0});
    CHECK(found.action == more.action);
    for (std::size_t i = 0; i < found.log_prob.size(); ++i)
        REQUIRE(static_cast<double>(found.log_prob[i]) == Approx(static_cast<double>(more.log_prob[i])).margin(1e-4));
    const std::vector<prefix> no_row = {{rows(b), 0}}, too_long = {{0, b.length[0] + 1}}, three = {{0, 3}};
    CHECK_THROWS_AS(p.rollout_from(b, no_row, ids(1), {}, {}), shape_error);
    CHECK_THROWS_AS(p.rollout_from(b, too_long, ids(1), {}, {}), shape_error);
    CHECK_THROWS_AS(p.rollout_from(b, three, ids(1), {.max_length = 2}, {}), shape_error);
    CHECK_THROWS_AS(p.rollout_from(b, three, ids(2), {}, {}), shape_error);
    CHECK_THROWS_AS(p.rollout_from(b, three, ids(1), {.top_k = 3}, {}), option_error);
}
