#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <vector>

#include "rlgaf/backend/conformance_critic.hpp"
#include "rlgaf/backend/critic.hpp"
#include "rlgaf/models/lstm_critic.hpp"
#include "rlgaf/models/ngram.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"

using namespace rlgaf;

static_assert(check_critic<lstm_critic<float>, token_batch<float>>());
static_assert(check_critic<lstm_critic<double>, token_batch<double>>());
static_assert(check_critic<ngram_policy<float>, token_batch<float>>());
static_assert(!critic_backend<lstm_policy<float>, token_batch<float>>);  // gives no values
static_assert(clonable<lstm_critic<float>> && flat_parameters<lstm_critic<float>>);

namespace {

constexpr std::int32_t end = 4;

lstm_critic_options small_critic(std::size_t hidden = 7) {
    return {.vocabulary = 5, .embedding = 3, .hidden = hidden, .seed = 11};
}

/// Rows that share prefixes, repeat, have several temperatures, one without actions.
template <class T>
token_batch<T> words(bool with_prompts) {
    token_batch<T> b;
    const std::vector<std::vector<std::int32_t>> completions = {{0, 1, 2, end},  {0, 1, 3},    {},      {2},
                                                                {0, 1, 2, end},  {0, 1, 2, 1}, {end},   {0, 1},
                                                                {3, 3, 3, 3, 3}, {0, 1, 3},    {1, end}};
    for (std::size_t i = 0; i < completions.size(); ++i) {
        const auto& row = completions[i];
        b.add(row, !row.empty() && row.back() == end ? row_end::terminated : row_end::truncated, {},
              i % 3 == 1 ? 0.8 : 1.0);
        if (with_prompts) {
            const std::vector<std::vector<std::int32_t>> prompts = {{1, 2, 3}, {}, {1, 2}};
            b.prompt.add(prompts[i % 5 % 3]);
        }
    }
    return b;
}

/// Numbers in [-1, 1].
template <class T>
std::vector<T> noise(std::size_t n, std::uint64_t seed) {
    const random_stream random({seed, 0}, stream::user);
    std::vector<T> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<T>(2 * random.uniform(static_cast<std::uint32_t>(i)) - 1);
    return x;
}
template <class T>
ragged_view<const T> shaped_as(const std::vector<T>& x, const token_batch<T>& b) {
    return ragged_view<const T>::packed(x.data(), b.offset);
}
template <class T>
ragged_view<T> into(std::vector<T>& x, const token_batch<T>& b) {
    x.assign(b.token.size(), T(-99));
    return ragged_view<T>::packed(x.data(), b.offset);
}

template <class M>
auto all_gradients(M& model) {
    std::vector<typename M::scalar> g;
    for (const auto& block : model.parameters()) g.insert(g.end(), block.gradients.begin(), block.gradients.end());
    return g;
}
template <class M>
auto all_values(M& model) {
    std::vector<typename M::scalar> x;
    for (const auto& block : model.parameters()) x.insert(x.end(), block.values.begin(), block.values.end());
    return x;
}
template <class M>
void shake(M& model) {
    std::uint64_t seed = 5;
    for (const auto& block : model.parameters()) {
        const auto x = noise<typename M::scalar>(block.values.size(), ++seed);
        for (std::size_t i = 0; i < x.size(); ++i) block.values[i] += x[i] / 4;
    }
}
template <class T>
std::vector<T> values_of(lstm_critic<T>& critic, const token_batch<T>& b) {
    std::vector<T> v;
    critic.evaluate(b, {.value = into(v, b)});
    return v;
}
double inner_product(const std::vector<double>& a, const std::vector<double>& b) {
    double s = 0;
    for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
    return s;
}

}  // namespace

TEST_CASE("lstm_critic: gradients are those of finite differences", "[lstm]") {
    for (const bool with_prompts : {false, true})
        for (const std::size_t hidden : {7u, 8u}) {
            CAPTURE(with_prompts, hidden);
            lstm_critic<double> critic(small_critic(hidden));
            shake(critic);
            const auto b = words<double>(with_prompts);
            const auto c = noise<double>(b.token.size(), 1);
            std::vector<double> v;
            critic.backward(critic.forward(b, {.value = into(v, b)}), {.d_value = shaped_as(c, b)});
            for (const auto& block : critic.parameters())
                for (std::size_t i = 0; i < block.values.size(); ++i) {
                    const double x = block.values[i], step = 1e-5;
                    block.values[i] = x + step;
                    const double up = inner_product(c, values_of(critic, b));
                    block.values[i] = x - step;
                    const double down = inner_product(c, values_of(critic, b));
                    block.values[i] = x;
                    INFO(block.name.c_str() << "[" << i << "]");
                    REQUIRE(block.gradients[i] == Approx((up - down) / (2 * step)).margin(2e-8).epsilon(1e-6));
                }
        }
}

TEST_CASE("lstm_critic: values are those of the formula", "[lstm]") {
    lstm_critic<double> critic(small_critic());
    shake(critic);
    const auto b = words<double>(true);
    const auto value = values_of(critic, b);
    const auto p = critic.parameters();
    const std::size_t H = 7, E = 3;
    REQUIRE(p[4].shape == std::vector<std::size_t>{H});
    REQUIRE(p[5].shape == std::vector<std::size_t>{1});
    for (std::size_t i = 0; i < rows(b); ++i) {
        std::vector<std::int32_t> input = {5};
        input.insert(input.end(), b.prompt.row(i).begin(), b.prompt.row(i).end());
        const std::size_t before = input.size() - 1;
        input.insert(input.end(), b.row(i).begin(), b.row(i).end());
        std::vector<double> h(H, 0.0), c(H, 0.0);
        for (std::size_t t = 0; t + 1 < input.size(); ++t) {
            std::vector<double> z(4 * H);
            for (std::size_t g = 0; g < 4 * H; ++g) {
                z[g] = p[3].values[g];
                for (std::size_t e = 0; e < E; ++e)
                    z[g] += p[0].values[static_cast<std::size_t>(input[t]) * E + e] * p[1].values[e * 4 * H + g];
                for (std::size_t k = 0; k < H; ++k) z[g] += h[k] * p[2].values[k * 4 * H + g];
            }
            double v = p[5].values[0];
            for (std::size_t k = 0; k < H; ++k) {
                c[k] = sigmoid(z[H + k]) * c[k] + sigmoid(z[k]) * std::tanh(z[2 * H + k]);
                h[k] = sigmoid(z[3 * H + k]) * std::tanh(c[k]);
                v += h[k] * p[4].values[k];
            }
            if (t >= before) REQUIRE(value[b.offset[i] + t - before] == Approx(v).epsilon(1e-12));
        }
    }
}

TEST_CASE("lstm_critic: a value sees what came before its action and nothing else", "[lstm]") {
    lstm_critic<double> critic(small_critic());
    shake(critic);
    const std::vector<std::int32_t> row = {0, 1, 2, 3, 1};
    token_batch<double> whole;
    whole.add(row, row_end::truncated);
    const auto value = values_of(critic, whole);
    for (std::size_t t = 0; t < row.size(); ++t) {
        std::vector<std::int32_t> other = row;
        other[t] = (row[t] + 2) % 5;
        token_batch<double> changed, cut;
        changed.add(other, row_end::terminated, {}, 0.5);
        cut.add(std::span(row).first(t + 1), row_end::truncated);
        const auto moved = values_of(critic, changed), shorter = values_of(critic, cut);
        for (std::size_t k = 0; k < row.size(); ++k) REQUIRE((moved[k] == value[k]) == (k <= t));
        REQUIRE(std::equal(shorter.begin(), shorter.end(), value.begin()));
    }
    // Rows that begin alike have the same numbers, to the bit.
    const auto b = words<double>(false);
    const auto v = values_of(critic, b);
    for (std::size_t t = 0; t < 3; ++t) REQUIRE(v[b.offset[0] + t] == v[b.offset[5] + t]);
    for (std::size_t i = 0; i < rows(b); ++i)
        if (b.length[i] > 0) REQUIRE(v[b.offset[i]] == v[0]);
}

TEST_CASE("lstm_critic: begins with the body of a policy or of a scorer", "[lstm]") {
    const auto b = words<double>(false);
    lstm_policy<double> policy({.vocabulary = 5, .embedding = 3, .hidden = 7, .end_token = end, .seed = 4});
    shake(policy);
    lstm_scorer<double> scorer({.vocabulary = 5, .embedding = 3, .hidden = 6, .seed = 8});
    const auto check = [&](auto& model, std::size_t hidden) {
        lstm_critic<double> critic(model, {});
        REQUIRE(critic.options().hidden == hidden);
        for (std::size_t k = 0; k < 4; ++k) {
            CHECK(critic.parameters()[k].shape == model.parameters()[k].shape);
            CHECK(std::ranges::equal(critic.parameters()[k].values, model.parameters()[k].values));
        }
        for (const double v : values_of(critic, b)) REQUIRE(v == 0);
        for (const double g : all_gradients(critic)) REQUIRE(g == 0);
        shake(critic);
        REQUIRE(values_of(critic, b)[0] != 0);
    };
    check(policy, 7);
    check(scorer, 6);
}

TEST_CASE("lstm_critic: gradients accumulate; tapes live side by side; step and discard clear", "[lstm]") {
    lstm_critic<double> critic(small_critic());
    shake(critic);
    const auto b = words<double>(true);
    const auto x = noise<double>(b.token.size(), 1), y = noise<double>(b.token.size(), 2);
    auto sum = x;
    for (std::size_t i = 0; i < y.size(); ++i) sum[i] += y[i];
    std::vector<double> v;
    auto first = critic.forward(b, {.value = into(v, b)});
    auto other = b;
    auto second = critic.forward(other, {.value = into(v, b)});
    other = {};  // a tape needs no batch
    REQUIRE(values_of(critic, b) == v);
    critic.backward(std::move(second), {.d_value = shaped_as(y, b)});
    critic.backward(std::move(first), {.d_value = shaped_as(x, b)});
    const auto twice = all_gradients(critic);
    CHECK_THROWS_AS(critic.backward(std::move(first), {}), shape_error);
    critic.discard();
    for (const double g : all_gradients(critic)) REQUIRE(g == 0);
    critic.backward(critic.forward(b, {.value = into(v, b)}), {.d_value = shaped_as(sum, b)});
    const auto once = all_gradients(critic);
    for (std::size_t i = 0; i < once.size(); ++i) REQUIRE(once[i] == Approx(twice[i]).margin(1e-13));

    auto copy = critic.clone();
    for (const double g : all_gradients(copy)) REQUIRE(g == 0);
    REQUIRE(critic.step({.learning_rate = 1e-2}).applied);
    for (const double g : all_gradients(critic)) REQUIRE(g == 0);
    CHECK(all_values(critic) != all_values(copy));
    CHECK(copy.clone().optimizer_state().steps == 0);
    CHECK(critic.optimizer_state().steps == 1);
    CHECK(critic.clone().optimizer_state().steps == 0);

    critic.backward(critic.forward(b, {.value = into(v, b)}), {});  // no cotangent: no gradient
    for (const double g : all_gradients(critic)) REQUIRE(g == 0);
    copy.parameters()[0].gradients[0] = std::nan("");
    const auto before = all_values(copy);
    CHECK_FALSE(copy.step({}).applied);
    CHECK(all_values(copy) == before);
    lstm_critic<double> moved = std::move(copy);
    CHECK(all_values(moved) == before);
}

TEST_CASE("lstm_critic: the conformance kit finds nothing, and finds what is wrong", "[lstm]") {
    for (const bool with_prompts : {false, true}) {
        lstm_critic<double> critic(small_critic());
        const auto report = check_conformance_critic(critic, words<double>(with_prompts));
        INFO(to_string(report));
        CHECK(report.ok());
    }
    lstm_critic<float> critic(small_critic(16));
    const auto report = check_conformance_critic(critic, words<float>(false));
    INFO(to_string(report));
    CHECK(report.ok());

    struct wrong_sign : lstm_critic<double> {
        using lstm_critic<double>::lstm_critic;
        void backward(tape&& t, policy_cotangents<double> c) {
            lstm_critic<double>::backward(std::move(t), c);
            for (const auto& block : parameters())
                for (double& g : block.gradients) g = -g;
        }
    } wrong(small_critic());
    CHECK_FALSE(check_conformance_critic(wrong, words<double>(false)).ok());
}

TEST_CASE("lstm_critic: degenerate batches", "[lstm]") {
    lstm_critic<float> critic(small_critic());
    token_batch<float> none, empty, single;
    empty.add({}, row_end::truncated);
    single.add(std::vector<std::int32_t>{end}, row_end::terminated);
    for (const auto* b : {&none, &empty, &single}) {
        std::vector<float> v;
        const std::vector<float> c(b->token.size(), 1.0f);
        critic.backward(critic.forward(*b, {.value = into(v, *b)}), {.d_value = shaped_as(c, *b)});
        for (const float x : v) CHECK(x != -99.0f);
        CHECK(critic.parameters()[5].gradients[0] == static_cast<float>(c.size()));
    }
}

TEST_CASE("lstm_critic: wrong input is refused", "[lstm]") {
    CHECK_THROWS_AS(lstm_critic<float>({.vocabulary = 0}), option_error);
    CHECK_THROWS_AS(lstm_critic<float>({.vocabulary = 3, .hidden = 0}), option_error);
    lstm_critic<float> critic(small_critic());
    token_batch<float> b;
    b.add(std::vector<std::int32_t>{0, 5}, row_end::truncated);
    std::vector<float> v;
    CHECK_THROWS_AS(critic.evaluate(b, {.value = into(v, b)}), numeric_error);
    b.token[1] = 1;
    critic.evaluate(b, {.value = into(v, b)});
    CHECK_THROWS_AS(critic.evaluate(b, {.log_prob = into(v, b)}), option_error);
    CHECK_THROWS_AS(critic.evaluate(b, {.entropy = into(v, b)}), option_error);
    const auto other = words<float>(false);
    std::vector<float> w;
    CHECK_THROWS_AS(critic.evaluate(b, {.value = into(w, other)}), shape_error);
    const std::vector<float> c(other.token.size()), d(2);
    CHECK_THROWS_AS(critic.backward(critic.forward(b, {.value = into(v, b)}), {.d_value = shaped_as(c, other)}),
                    shape_error);
    CHECK_THROWS_AS(critic.backward(critic.forward(b, {.value = into(v, b)}), {.d_log_prob = shaped_as(d, b)}),
                    option_error);
}

TEST_CASE("lstm_critic: bits repeat; threads change gradients by rounding only", "[lstm]") {
    lstm_policy<float> policy({.vocabulary = 27, .embedding = 16, .hidden = 48, .end_token = 26, .max_length = 15});
    std::vector<std::uint64_t> id(200);
    for (std::size_t i = 0; i < id.size(); ++i) id[i] = i;
    const auto b = policy.rollout({}, id, {}, {2, 0});
    const auto c = noise<float>(b.token.size(), 8);
    struct result {
        std::vector<float> value, gradient;
    };
    const auto run = [&] {
        lstm_critic<float> critic(policy, {});
        shake(critic);
        result r;
        critic.backward(critic.forward(b, {.value = into(r.value, b)}), {.d_value = shaped_as(c, b)});
        r.gradient = all_gradients(critic);
        return r;
    };
    const result plain = run();
    REQUIRE(run().value == plain.value);
    REQUIRE(run().gradient == plain.gradient);
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    for (const int n : {1, 2, 3}) {
        omp_set_num_threads(n);
        const result r = run();
        CHECK(r.value == plain.value);  // to the bit
        CHECK(run().gradient == r.gradient);
        double error = 0, size = 0;
        for (std::size_t i = 0; i < r.gradient.size(); ++i) {
            error += std::pow(static_cast<double>(r.gradient[i]) - static_cast<double>(plain.gradient[i]), 2);
            size += std::pow(static_cast<double>(plain.gradient[i]), 2);
        }
        CHECK(std::sqrt(error / size) < 1e-6);
    }
    omp_set_num_threads(before);
#endif
}
