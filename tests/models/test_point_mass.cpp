#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/check.hpp"
#include "rlgaf/models/point_mass.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::ids;

namespace {

static_assert(check_policy<point_mass_policy<float>>());
static_assert(check_scorer<point_mass_scorer<double>, point_mass_batch<double>>());
static_assert(expert_source<point_mass_expert<float>, point_mass_batch<float>>);
static_assert(!shows_tokens<point_mass_batch<float>> && !batch_has::mask<point_mass_batch<float>>);

template <class T>
double mean_return(const point_mass_batch<T>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < rows(b); ++i) sum += b.true_return(i) / static_cast<double>(rows(b));
    return sum;
}

}  // namespace

TEMPLATE_TEST_CASE("point mass: log-prob and entropy of a Gaussian", "[models]", float, double) {
    point_mass_policy<TestType> p({.initial_std = 0.5});
    auto w = p.parameters()[0].values;
    w[0] = 2, w[1] = -1, w[2] = TestType(0.25);
    point_mass_batch<TestType> b;
    b.position = {1, 0.5}, b.velocity = {3, 0}, b.action = {TestType(-0.25), TestType(1.25)}, b.reward = {0, 0};
    b.close(row_end::truncated, 1);
    b.temperature = {2};
    b.last_position = b.last_velocity = {0};
    TestType out[4];
    const std::size_t offset[] = {0, 2};
    p.evaluate(b, {ragged_view<TestType>::packed(out, offset), ragged_view<TestType>::packed(out + 2, offset)});
    const double pi = 3.14159265358979323846, s = 2 * 0.25;  // means -0.75 and 1.25
    REQUIRE(out[0] == Approx(-0.5 * 0.25 / s - 0.5 * std::log(2 * pi * s)));
    REQUIRE(out[1] == Approx(-0.5 * std::log(2 * pi * s)));
    REQUIRE(out[2] == Approx(0.5 * std::log(2 * pi * 2.718281828459045 * s)));
    point_mass_policy<TestType> narrow({.initial_std = 0.01});
    const auto rolled = narrow.rollout({}, ids(4), {}, {});
    std::size_t positive = 0;
    for (const TestType x : rolled.log_prob) positive += x > 0;
    REQUIRE(positive > rolled.log_prob.size() / 2);  // a density
}

TEST_CASE("point mass: rows terminate at the goal or off the track, and are truncated at the horizon", "[models]") {
    const point_mass_world world;
    const auto demos = point_mass_expert<double>{}.sample(50, {.seed = 1});
    REQUIRE(demos.log_prob.empty());
    REQUIRE(behaviour_log_prob(demos).empty());
    for (std::size_t i = 0; i < rows(demos); ++i) {
        REQUIRE(demos.end[i] == row_end::terminated);
        REQUIRE(std::abs(demos.last_position[i]) <= world.goal_radius);
        REQUIRE(std::abs(demos.last_velocity[i]) <= world.goal_speed);
        const double start = std::abs(demos.position[demos.offset[i]]);
        REQUIRE((start >= 0.5 && start <= 1));
    }
    point_mass_policy<double> idle({.initial_std = 1e-3}), away({.initial_std = 1e-3});
    away.parameters()[0].values[0] = 5;
    auto b = idle.rollout({}, ids(20), {}, {});
    for (std::size_t i = 0; i < 20; ++i) REQUIRE((b.end[i] == row_end::truncated && b.length[i] == world.horizon));
    b = away.rollout({}, ids(20), {}, {});
    for (std::size_t i = 0; i < 20; ++i) {
        REQUIRE((b.end[i] == row_end::terminated && std::abs(b.last_position[i]) > world.bound));
        REQUIRE(b.true_return(i) < -10);
    }
    b = away.rollout({}, ids(20), {.max_length = 3}, {});
    for (std::size_t i = 0; i < 20; ++i) REQUIRE((b.end[i] == row_end::truncated && b.length[i] == 3));
}

TEST_CASE("point mass: the world is what its formula says", "[models]") {
    point_mass_world world{.dt = 0.5, .friction = 0.2, .force_limit = 1, .horizon = 2};
    point_mass_batch<double> b;
    world.run(
        random_stream({}, stream::environment), 2, 1,
        [](std::uint32_t t, double, double) { return t == 0 ? 9.0 : -0.5; }, b);
    REQUIRE(b.length[0] == 2);
    const double x0 = b.position[0], v1 = 0.5, x1 = x0 + 0.25, v2 = v1 + 0.5 * (-0.5 - 0.1), x2 = x1 + 0.5 * v2;
    REQUIRE(b.velocity[0] == 0);
    REQUIRE(b.velocity[1] == Approx(v1));
    REQUIRE(b.position[1] == Approx(x1));
    REQUIRE(b.last_velocity[0] == Approx(v2));
    REQUIRE(b.last_position[0] == Approx(x2));
    REQUIRE(b.action[0] == 9);  // as asked for; the world clipped it to 1
    REQUIRE(b.reward[0] == Approx(-0.5 * (x1 * x1 + 0.1 * v1 * v1 + 0.01)));
    REQUIRE(b.reward[1] == Approx(-0.5 * (x2 * x2 + 0.1 * v2 * v2 + 0.0025)));
}

TEST_CASE("point mass: select and concat", "[models]") {
    point_mass_policy<double> p({});
    const auto b = p.rollout({}, ids(4), {}, {});
    const auto demos = point_mass_expert<double>{}.sample(2, {});
    const std::size_t pick[] = {3, 0, 3};
    const auto some = select(b, pick);
    REQUIRE(rows(some) == 3);
    REQUIRE(some.true_return(0) == b.true_return(3));
    REQUIRE(some.last_position[2] == b.last_position[3]);
    REQUIRE(!some.log_prob.empty());
    const auto joined = concat(some, demos);
    REQUIRE(rows(joined) == 5);
    REQUIRE(joined.log_prob.empty());
    REQUIRE(joined.true_return(4) == demos.true_return(1));
    REQUIRE(!concat(some, b).log_prob.empty());
    REQUIRE(rows(concat(point_mass_batch<double>{}, demos)) == 2);
    REQUIRE(rows(concat(demos, point_mass_batch<double>{})) == 2);
}

TEST_CASE("point mass: what cannot be is refused", "[models]") {
    point_mass_policy<double> p({});
    REQUIRE_THROWS_AS(p.rollout({}, ids(1), {.top_k = 3}, {}), option_error);
    REQUIRE_THROWS_AS(p.rollout({}, ids(1), {.top_p = 0.5}, {}), option_error);
    REQUIRE_THROWS_AS(point_mass_policy<double>({.initial_std = 0}), option_error);
    REQUIRE_THROWS_AS(point_mass_policy<double>({.world = {.bound = 0.5}}), option_error);
    point_mass_scorer<double> s({});
    std::vector<double> score(3);
    REQUIRE_THROWS_AS(s.evaluate(p.rollout({}, ids(2), {}, {}), score), shape_error);
}

TEST_CASE("point mass: imitation by maximum likelihood comes close to the expert", "[models]") {
    point_mass_policy<double> p({});
    const auto demos = point_mass_expert<double>{}.sample(32, {.seed = 1});
    const auto held_out = point_mass_expert<double>{}.sample(64, {.seed = 2});
    const double before = mean_return(p.rollout({}, ids(64), {}, {}));
    ragged_buffer<double> c;
    c.assign(lengths(demos), -1.0 / static_cast<double>(demos.action.size()));
    for (int k = 0; k < 400; ++k) {
        p.backward(p.forward(demos, {}), {.d_log_prob = std::as_const(c).view()});
        p.step({.learning_rate = 0.02});
    }
    const auto rolled = p.rollout({}, ids(64), {}, {});
    const double after = mean_return(rolled), expert = mean_return(held_out);
    INFO("before " << before << ", after " << after << ", expert " << expert);
    REQUIRE(after > before + 0.2);
    REQUIRE(std::abs(after - expert) < 0.15);
    std::size_t terminated = 0;
    for (const row_end e : ends(rolled)) terminated += e == row_end::terminated;
    REQUIRE(terminated > 55);
}

TEST_CASE("point mass: the scorer can tell the expert from an untrained policy", "[models]") {
    point_mass_policy<float> p({});
    point_mass_scorer<float> s({});
    const auto real = point_mass_expert<float>{}.sample(32, {}), fake = p.rollout({}, ids(32), {}, {});
    std::vector<float> a(32), b(32), da(32), db(32);
    const auto right = [&] {
        s.evaluate(real, a);
        s.evaluate(fake, b);
        int n = 0;
        for (std::size_t i = 0; i < 32; ++i) n += (a[i] > 0) + (b[i] < 0);
        return n;
    };
    for (int k = 0; k < 200; ++k) {
        auto first = s.forward(real, a);
        auto second = s.forward(fake, b);
        for (std::size_t i = 0; i < 32; ++i) {
            da[i] = -1 / (1 + std::exp(a[i])) / 32;
            db[i] = 1 / (1 + std::exp(-b[i])) / 32;
        }
        s.backward(std::move(first), da);
        s.backward(std::move(second), db);
        s.step({.learning_rate = 0.02});
    }
    REQUIRE(right() >= 60);
}
