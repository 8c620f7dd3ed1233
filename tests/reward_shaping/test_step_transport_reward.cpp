#include "rlgaf/reward_shaping/step_transport_reward.hpp"
#include "support/token_stage_checks.hpp"
#include "support/transport.hpp"

using namespace rlgaf_test;
using numbers = std::vector<double>;

namespace {
/// Tables of features [length * width] a row as the batch's steps.
template <class T = double>
table transport(const std::vector<numbers>& features, std::size_t width, const std::vector<numbers>& experts,
                rlgaf::step_transport_options options = {}, const table& mask = {}) {
    const auto steps = [&](const auto&, std::size_t row, numbers& x) {
        x.insert(x.end(), features[row].begin(), features[row].end());
    };
    table shape;
    for (const numbers& x : features) shape.emplace_back(x.size() / width, 0.0);
    return token_reward<T>(rlgaf::step_transport_reward(steps, width, experts, options), shape, mask);
}
numbers random_steps(dice& d, std::size_t steps, std::size_t width) {
    numbers x(steps * width);
    for (double& v : x) v = d.normal();
    return x;
}
}  // namespace

TEST_CASE("step_transport_reward: the plain form of Sinkhorn's iterations, to the nearest demonstration") {
    dice d(29);
    for (int c = 0; c < 200; ++c) {
        std::vector<numbers> x, experts;
        for (std::size_t i = 1 + d.below(3); i > 0; --i) x.push_back(random_steps(d, 1 + d.below(5), 3));
        for (std::size_t i = 1 + d.below(3); i > 0; --i) experts.push_back(random_steps(d, 1 + d.below(6), 3));
        const double epsilon = d.uniform(0.1, 1);
        const int iterations = 1 + static_cast<int>(d.below(40));
        const rlgaf::step_transport_options options{
            .scale = 2, .epsilon = epsilon, .iterations = static_cast<std::uint32_t>(iterations)};
        const table paid = transport(x, 3, experts, options), narrow = transport<float>(x, 3, experts, options);
        for (std::size_t i = 0; i < x.size(); ++i) {
            numbers nearest;
            for (const numbers& e : experts) {
                const numbers carried = plain_sinkhorn(x[i], e, 3, epsilon, iterations);
                double total = 0, least = 0;
                for (const double v : carried) total += v;
                for (const double v : nearest) least += v;
                if (nearest.empty() || total > least) nearest = carried;
            }
            for (double& v : nearest) v *= 2 / static_cast<double>(nearest.size());
            REQUIRE(gap(paid[i], nearest) < 1e-11);
            REQUIRE(gap(narrow[i], nearest) < 1e-5);
        }
    }
}

TEST_CASE("step_transport_reward: the same steps in another order and at other lengths cost nothing") {
    const rlgaf::step_transport_options sharp{.epsilon = 0.01};
    REQUIRE(gap(transport({{1, 0, 0, 2}}, 2, {{5, -5}, {0, 1, 3, 0}}, sharp), {{0, 0}}) < 1e-12);
    // half of a step that no demonstration has: at distance 1 of everything, and zeros are so too
    REQUIRE(gap(transport({{1, 0, 0, 0}}, 2, {{1, 0}}, sharp), {{0, -0.5}}) < 1e-12);
    // whatever the length, a row's tokens add up to the mean distance of its steps: opposite ones are 2 apart
    for (std::size_t n = 1; n < 20; ++n) {
        numbers opposite(n, -1.0);
        const table paid = transport({opposite}, 1, {{1, 1, 1}});
        REQUIRE(gap(row_sum(paid, {}, 0), -2) < 1e-12);
    }
}

TEST_CASE("step_transport_reward: masked tokens are not carried, their features are not read") {
    const numbers row = {1, 0, not_a_number, infinity, 0, 1, 1, 1}, rest = {1, 0, 0, 1, 1, 1};
    const std::vector<numbers> experts = {{1, 2, 0, 1}};
    const table masked = transport({row, row}, 2, experts, {}, {{1, 0, 1, 1}, {0, 0, 0, 0}});
    const table without = transport({rest}, 2, experts);
    REQUIRE(numbers{masked[0][0], masked[0][2], masked[0][3]} == without[0]);
    REQUIRE(masked[1] == numbers(4));
    REQUIRE(transport({}, 2, experts).empty());
}

TEST_CASE("step_transport_reward refuses what does not fit, by name") {
    const auto none = [](const auto&, std::size_t, numbers&) {};
    const auto made = [&](std::size_t width, const std::vector<numbers>& experts,
                          rlgaf::step_transport_options options = {}) {
        return [=] { (void)rlgaf::step_transport_reward(none, width, experts, options); };
    };
    for (const double x : {0.0, -1.0, not_a_number, infinity}) {
        REQUIRE(contains(message_of<rlgaf::option_error>(made(1, {{1}}, {.scale = x})), ".scale"));
        REQUIRE(contains(message_of<rlgaf::option_error>(made(1, {{1}}, {.epsilon = x})), ".epsilon"));
    }
    REQUIRE(contains(message_of<rlgaf::option_error>(made(1, {{1}}, {.iterations = 0})), ".iterations"));
    REQUIRE(contains(message_of<rlgaf::option_error>(made(0, {{1}})), ".width"));
    REQUIRE(contains(message_of<rlgaf::option_error>(made(1, {})), ".demonstrations"));
    REQUIRE(message_of<rlgaf::shape_error>(made(2, {{1, 2}, {1, 2, 3}})) ==
            "rlgaf::step_transport_reward: demonstrations: expected a positive multiple of 2 numbers, got 3");
    REQUIRE_THROWS_AS(made(2, {{1, 2}, {}})(), rlgaf::shape_error);
    REQUIRE_THROWS_AS(made(1, {{not_a_number}})(), rlgaf::numeric_error);

    shaping_step<double> step;
    step.begin({2});
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                step.run(rlgaf::step_transport_reward(none, 3, std::vector<numbers>{{1, 2, 3}}));
            }) == "rlgaf::step_transport_reward: features of a row: expected 6 elements, got 0");
    const auto wild = [](const auto&, std::size_t, numbers& x) { x.assign(2, infinity); };
    REQUIRE_THROWS_AS(step.run(rlgaf::step_transport_reward(wild, 1, std::vector<numbers>{{1}})), rlgaf::numeric_error);
    step.mask = {{1}};
    REQUIRE_THROWS_AS(step.run(rlgaf::step_transport_reward(wild, 1, std::vector<numbers>{{1}})), rlgaf::shape_error);
}
