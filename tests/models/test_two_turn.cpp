#include "rlgaf/backend/check.hpp"
#include "rlgaf/models/two_turn.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::ids;

namespace {

static_assert(check_policy<two_turn_policy<float>>() && clonable<two_turn_policy<float>>);

token_prompts prompts_of(std::size_t n) {
    token_prompts prompts;
    for (std::size_t i = 0; i < n; ++i) prompts.add(std::vector<std::int32_t>{static_cast<std::int32_t>(i % 2)});
    return prompts;
}
two_turn_options options_of() {
    return {.model = {.shape = {.vocabulary = 4, .order = 3}, .max_length = 6, .initial_spread = 0.5}, .max_query = 2};
}

}  // namespace

TEMPLATE_TEST_CASE("two turns: query, masked reply, answer", "[models]", float, double) {
    two_turn_policy<TestType> p(options_of());
    const auto b = p.rollout(prompts_of(300), ids(300), {}, {});
    REQUIRE(rows(b) == 300);
    REQUIRE(rows(b.prompt) == 300);
    std::size_t replies = 0, early = 0;
    for (std::size_t i = 0; i < rows(b); ++i) {
        const auto row = b.row(i);
        const auto included = mask(b).row(i);
        const auto lp = behaviour_log_prob(b).row(i);
        std::size_t query = 0;
        while (query < row.size() && included[query]) ++query;
        for (std::size_t t = 0; t < row.size(); ++t) {
            const double x = static_cast<double>(lp[t]);
            REQUIRE(is_nan(&x) == !included[t]);
        }
        if (query == row.size()) {  // it ended before the tool was asked
            REQUIRE((row.size() <= 2 && row.back() == 0 && b.end[i] == row_end::terminated));
            ++early;
            continue;
        }
        ++replies;
        REQUIRE((query == 1 ? row[0] == 1 : query == 2));
        std::int64_t sum = b.prompt.row(i)[0];
        for (std::size_t t = 0; t < query; ++t) sum += row[t];
        REQUIRE(row[query] == 2 + sum % 2);
        for (std::size_t t = query + 1; t < row.size(); ++t) REQUIRE(included[t]);
        REQUIRE((b.end[i] == row_end::terminated) == (row.back() == 0));
        REQUIRE((b.end[i] == row_end::terminated || row.size() == 6));
    }
    REQUIRE((replies > 50 && early > 50));
}

TEST_CASE("two turns: a limit may fall into the reply", "[models]") {
    const auto long_reply = [](std::span<const std::int32_t>, std::span<const std::int32_t>, const random_stream&,
                               std::vector<std::int32_t>& reply) {
        reply.insert(reply.end(), {2, 3, 2, 3});
    };
    two_turn_policy<double, std::decay_t<decltype(long_reply)>> p(options_of(), long_reply);
    const auto whole = p.rollout(prompts_of(50), ids(50), {}, {}),
               cut = p.rollout(prompts_of(50), ids(50), {.max_length = 3}, {});
    for (std::size_t i = 0; i < 50; ++i) {
        REQUIRE(cut.length[i] == std::min(3u, whole.length[i]));
        REQUIRE(std::equal(cut.row(i).begin(), cut.row(i).end(), whole.row(i).begin()));
        if (whole.length[i] > 3) REQUIRE(cut.end[i] == row_end::truncated);
    }
}

TEST_CASE("two turns: the tool has its own random numbers", "[models]") {
    two_turn_policy<double> exact(options_of(), {.noise = 0}), noisy(options_of(), {.noise = 1});
    const auto a = exact.rollout(prompts_of(200), ids(200), {}, {.seed = 4}),
               b = noisy.rollout(prompts_of(200), ids(200), {}, {.seed = 4}),
               again = noisy.rollout(prompts_of(200), ids(200), {}, {.seed = 4});
    REQUIRE(b.token == again.token);
    std::size_t asked = 0, same = 0;
    for (std::size_t i = 0; i < 200; ++i)
        for (std::size_t t = 0; t < a.length[i]; ++t) {
            REQUIRE(a.mask[a.offset[i] + t] == b.mask[b.offset[i] + t]);
            if (!a.mask[a.offset[i] + t]) {
                ++asked;
                same += a.row(i)[t] == b.row(i)[t];
                break;
            }
            REQUIRE(a.row(i)[t] == b.row(i)[t]);  // the query does not change with the tool
        }
    REQUIRE((same > asked / 4 && same < asked - asked / 4));
}

TEST_CASE("two turns: options and sizes are checked", "[models]") {
    auto o = options_of();
    o.send_token = 0;
    REQUIRE_THROWS_AS(two_turn_policy<double>(o), option_error);
    o = options_of();
    o.max_query = 0;
    REQUIRE_THROWS_AS(two_turn_policy<double>(o), option_error);
    two_turn_policy<double> p(options_of()), bad(options_of(), {.first = 3});
    REQUIRE_THROWS_AS(p.rollout(prompts_of(2), ids(3), {}, {}), shape_error);
    REQUIRE_THROWS_AS(p.rollout({}, ids(3), {}, {}), shape_error);
    REQUIRE_THROWS_AS(bad.rollout(prompts_of(99), ids(99), {}, {}), numeric_error);  // token 4 of 4
}

TEST_CASE("two turns: it learns to repeat what the tool said", "[models]") {
    two_turn_policy<double> p(
        {.model = {.shape = {.vocabulary = 4, .order = 2}, .max_length = 6, .optimizer = adamw{}}});
    const auto reward = [](const token_batch<double>& b, std::size_t i) {
        for (std::size_t t = 0; t + 1 < b.length[i]; ++t)
            if (!b.mask[b.offset[i] + t]) return b.row(i)[t] == b.row(i)[t + 1] ? 1.0 : 0.0;
        return 0.0;
    };
    const auto share = [&](const token_batch<double>& b) {
        double sum = 0;
        for (std::size_t i = 0; i < rows(b); ++i) sum += reward(b, i) / static_cast<double>(rows(b));
        return sum;
    };
    const auto prompts = prompts_of(64);
    REQUIRE(share(p.rollout(prompts, ids(64), {}, {})) < 0.5);
    ragged_buffer<double> c;
    for (std::uint32_t round = 1; round <= 60; ++round) {
        const auto b = p.rollout(prompts, ids(64), {}, {.seed = 1, .step = round});
        const double mean = share(b);
        c.assign(lengths(b));
        for (std::size_t i = 0; i < rows(b); ++i)
            for (double& d : c.view().row(i)) d = -(reward(b, i) - mean) / 64;
        p.backward(p.forward(b, {}), {.d_log_prob = std::as_const(c).view()});
        REQUIRE(p.step({.learning_rate = 0.1}).applied);
    }
    REQUIRE(share(p.rollout(prompts, ids(64), {}, {.seed = 2})) > 0.9);
}
