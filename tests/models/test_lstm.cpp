#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <functional>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rlgaf/backend/check.hpp"
#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/models/lstm.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::ids;

static_assert(check_policy<lstm_policy<float>>());
static_assert(check_policy<lstm_policy<double>>());
static_assert(check_scorer<lstm_scorer<float>, token_batch<float>>());
static_assert(check_scorer<lstm_scorer<double>, token_batch<double>>());
static_assert(clonable<lstm_policy<float>> && clonable<lstm_scorer<float>>);
static_assert(flat_parameters<lstm_policy<float>> && flat_parameters<lstm_scorer<float>>);
static_assert(continues_prefixes<lstm_policy<float>>);
static_assert(gives_entropy<lstm_policy<float>>() && per_sample_streams<lstm_policy<float>>());
static_assert(!gives_value<lstm_policy<float>>());

namespace {

constexpr std::int32_t end = 4;

lstm_options small(std::size_t hidden = 7) {
    return {.vocabulary = 5, .embedding = 3, .hidden = hidden, .end_token = end, .max_length = 6, .seed = 11};
}

/// Rows that share prefixes, repeat, have several temperatures, one without actions.
template <class T>
token_batch<T> mixed_batch(bool with_prompts) {
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
std::vector<T> numbers(std::size_t n, std::uint64_t seed) {
    const random_stream random({seed, 0}, stream::user);
    std::vector<T> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<T>(2 * random.uniform(static_cast<std::uint32_t>(i)) - 1);
    return x;
}

template <class T>
ragged_view<const T> shaped(const std::vector<T>& x, const token_batch<T>& b) {
    return ragged_view<const T>::packed(x.data(), b.offset);
}

template <class T>
struct outputs {
    std::vector<T> log_prob, entropy;
    std::vector<std::size_t> offset;
    explicit outputs(const token_batch<T>& b)
        : log_prob(b.token.size(), T(-99)), entropy(b.token.size(), T(-99)), offset(b.offset) {}
    policy_outputs<T> view() {
        policy_outputs<T> out;
        out.log_prob = ragged_view<T>::packed(log_prob.data(), offset);
        out.entropy = ragged_view<T>::packed(entropy.data(), offset);
        return out;
    }
};

template <class M>
auto gradients(M& model) {
    std::vector<typename M::scalar> g;
    for (const auto& block : model.parameters()) g.insert(g.end(), block.gradients.begin(), block.gradients.end());
    return g;
}
template <class M>
auto values(M& model) {
    std::vector<typename M::scalar> x;
    for (const auto& block : model.parameters()) x.insert(x.end(), block.values.begin(), block.values.end());
    return x;
}
/// Every parameter gets a value, so that no gradient is zero for want of one.
template <class M>
void perturb(M& model) {
    std::uint64_t seed = 5;
    for (const auto& block : model.parameters()) {
        const auto x = numbers<typename M::scalar>(block.values.size(), ++seed);
        for (std::size_t i = 0; i < x.size(); ++i) block.values[i] += x[i] / 4;
    }
}

/// Compares the accumulated gradient with central differences of f.
template <class M>
void check_differences(M& model, const std::function<double()>& f) {
    for (const auto& block : model.parameters())
        for (std::size_t i = 0; i < block.values.size(); ++i) {
            const double x = block.values[i], step = 1e-5;
            block.values[i] = x + step;
            const double up = f();
            block.values[i] = x - step;
            const double down = f();
            block.values[i] = x;
            INFO(block.name.c_str() << "[" << i << "]");
            REQUIRE(block.gradients[i] == Approx((up - down) / (2 * step)).margin(2e-8).epsilon(1e-6));
        }
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double s = 0;
    for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
    return s;
}

template <class T>
void check_policy_gradient(std::size_t hidden, bool with_prompts) {
    lstm_policy<T> policy(small(hidden));
    perturb(policy);
    const auto b = mixed_batch<T>(with_prompts);
    const auto c = numbers<T>(b.token.size(), 1), e = numbers<T>(b.token.size(), 2);
    outputs<T> out(b);
    policy.backward(policy.forward(b, out.view()),
                    {.d_log_prob = shaped(c, b), .d_entropy = shaped(e, b), .d_value = {}});
    check_differences(policy, [&] {
        policy.evaluate(b, out.view());
        return dot(c, out.log_prob) + dot(e, out.entropy);
    });
}

}  // namespace

TEST_CASE("lstm_policy: gradients are those of finite differences", "[lstm]") {
    for (const bool with_prompts : {false, true})
        for (const std::size_t hidden : {7u, 8u}) {
            CAPTURE(with_prompts, hidden);
            check_policy_gradient<double>(hidden, with_prompts);
        }
}

TEST_CASE("lstm_policy: outputs are those of the formula", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    const auto b = mixed_batch<double>(true);
    outputs<double> out(b);
    policy.evaluate(b, out.view());

    const auto p = policy.parameters();
    const std::size_t H = 7, E = 3, V = 5;
    REQUIRE(p[0].shape == std::vector<std::size_t>{V + 1, E});
    REQUIRE(p[1].shape == std::vector<std::size_t>{E, 4 * H});
    REQUIRE(p[2].shape == std::vector<std::size_t>{H, 4 * H});
    REQUIRE(p[4].shape == std::vector<std::size_t>{V, H});
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
            for (std::size_t k = 0; k < H; ++k) {
                c[k] = sigmoid(z[H + k]) * c[k] + sigmoid(z[k]) * std::tanh(z[2 * H + k]);
                h[k] = sigmoid(z[3 * H + k]) * std::tanh(c[k]);
            }
            if (t < before) continue;
            std::vector<double> logit(V);
            for (std::size_t v = 0; v < V; ++v) {
                logit[v] = p[5].values[v];
                for (std::size_t k = 0; k < H; ++k) logit[v] += h[k] * p[4].values[v * H + k];
                logit[v] /= b.temperature[i];
            }
            const double norm = log_sum_exp(std::span<const double>(logit));
            double entropy = 0;
            for (const double x : logit) entropy -= std::exp(x - norm) * (x - norm);
            const std::size_t at = b.offset[i] + t - before;
            REQUIRE(out.log_prob[at] == Approx(logit[static_cast<std::size_t>(b.token[at])] - norm).epsilon(1e-12));
            REQUIRE(out.entropy[at] == Approx(entropy).epsilon(1e-12));
        }
    }
}

TEST_CASE("lstm_scorer: gradients are those of finite differences", "[lstm]") {
    for (const bool with_prompts : {false, true})
        for (const pooling pool : {pooling::last, pooling::mean}) {
            CAPTURE(with_prompts, static_cast<int>(pool));
            lstm_scorer<double> scorer({.vocabulary = 5, .embedding = 3, .hidden = 6, .pool = pool, .seed = 3});
            perturb(scorer);
            const auto b = mixed_batch<double>(with_prompts);
            const auto c = numbers<double>(rows(b), 4);
            std::vector<double> score(rows(b));
            scorer.backward(scorer.forward(b, score), c);
            check_differences(scorer, [&] {
                scorer.evaluate(b, score);
                return dot(c, score);
            });
        }
}

TEST_CASE("lstm_scorer: dropout", "[lstm]") {
    lstm_scorer<double> scorer({.vocabulary = 5, .embedding = 3, .hidden = 64, .dropout = 0.25, .seed = 3});
    perturb(scorer);
    token_batch<double> b;
    const std::vector<std::int32_t> row = {0, 1, end};
    for (int i = 0; i < 2000; ++i) b.add(row, row_end::terminated);
    std::vector<double> plain(rows(b)), first(rows(b)), second(rows(b)), again(rows(b));
    scorer.evaluate(b, plain);
    auto copy = scorer.clone();
    auto tape = scorer.forward(b, first);
    (void)scorer.forward(b, second);
    (void)copy.forward(b, again);
    CHECK(first == again);
    CHECK(first != second);
    double mean = 0;
    for (const double s : first) mean += s / static_cast<double>(first.size());
    CHECK(mean == Approx(plain[0]).margin(0.1));

    // The score is linear in the head, whatever was dropped: its gradient along the head is the score less the bias.
    scorer.backward(std::move(tape), std::vector<double>(rows(b), 1.0));
    const auto p = scorer.parameters();
    double along = 0, total = 0;
    for (std::size_t i = 0; i < p[4].values.size(); ++i) along += p[4].values[i] * p[4].gradients[i];
    for (const double s : first) total += s - p[5].values[0];
    CHECK(along == Approx(total));
    // The body's gradient is that of the same dropped units: along the input weights and by differences.
    const auto g = gradients(scorer);
    const double step = 1e-5;
    double expected = 0;
    for (const double sign : {1.0, -1.0}) {
        lstm_scorer<double> moved({.vocabulary = 5, .embedding = 3, .hidden = 64, .dropout = 0.25, .seed = 3});
        for (std::size_t k = 0; k < p.size(); ++k)
            for (std::size_t i = 0; i < p[k].values.size(); ++i)
                moved.parameters()[k].values[i] = p[k].values[i] + (k == 1 ? sign * step : 0.0);
        std::vector<double> score(rows(b));
        (void)moved.forward(b, score);
        for (const double s : score) expected += sign * s / (2 * step);
    }
    double actual = 0;
    for (const double x : p[1].gradients) actual += x;
    CHECK(actual == Approx(expected).epsilon(1e-6));
}

TEST_CASE("lstm_scorer: begins with the policy's body", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    lstm_scorer<double> scorer(policy, {});
    for (std::size_t k = 0; k < 4; ++k) {
        CHECK(std::string(scorer.parameters()[k].name.c_str()) == policy.parameters()[k].name.c_str());
        CHECK(std::ranges::equal(scorer.parameters()[k].values, policy.parameters()[k].values));
    }
    const auto b = mixed_batch<double>(false);
    std::vector<double> score(rows(b), 9.0);
    scorer.evaluate(b, score);
    for (const double s : score) CHECK(s == 0);
    perturb(scorer);
    scorer.evaluate(b, score);
    CHECK(score[0] == score[4]);                   // the same row
    CHECK(score[0] != score[5]);                   // the last token is read
    CHECK(score[2] != 0);                          // the empty row has the start state
    for (const auto& block : policy.parameters())  // and the policy is untouched
        for (const double g : block.gradients) REQUIRE(g == 0);
}

TEST_CASE("lstm_policy: rollout, evaluate and forward agree", "[lstm]") {
    for (const bool with_prompts : {false, true})
        for (const double temperature : {1.0, 0.7}) {
            lstm_policy<double> policy(small());
            perturb(policy);
            token_prompts prompts;
            if (with_prompts)
                for (int i = 0; i < 60; ++i)
                    prompts.add(i % 3 == 0   ? std::vector<std::int32_t>{1, 2}
                                : i % 3 == 1 ? std::vector<std::int32_t>{}
                                             : std::vector<std::int32_t>{1, 2, 0});
            const auto b = policy.rollout(prompts, ids(60), {.temperature = temperature}, {7, 1});
            REQUIRE(rows(b) == 60);
            REQUIRE(rows(b.prompt) == rows(prompts));
            std::size_t terminated = 0;
            for (std::size_t i = 0; i < rows(b); ++i) {
                REQUIRE(b.temperature[i] == temperature);
                REQUIRE(b.length[i] >= 1);
                REQUIRE(b.length[i] <= 6);
                for (std::size_t t = 0; t + 1 < b.length[i]; ++t) REQUIRE(b.row(i)[t] != end);
                REQUIRE((b.row(i).back() == end) == (b.end[i] == row_end::terminated));
                if (b.end[i] == row_end::truncated) REQUIRE(b.length[i] == 6);
                terminated += b.end[i] == row_end::terminated;
            }
            CHECK(terminated > 0);
            CHECK(terminated < 60);
            outputs<double> one(b), two(b);
            policy.evaluate(b, one.view());
            (void)policy.forward(b, two.view());
            CHECK(one.log_prob == two.log_prob);
            CHECK(one.entropy == two.entropy);
            for (std::size_t i = 0; i < b.token.size(); ++i)
                REQUIRE(b.log_prob[i] == Approx(one.log_prob[i]).epsilon(1e-12));
        }
}

TEST_CASE("lstm_policy: sampling frequencies are exp(log_prob)", "[lstm]") {
    lstm_policy<float> policy(small());
    perturb(policy);
    const std::size_t n = 20000;
    const auto b = policy.rollout({}, ids(n), {.temperature = 0.8, .max_length = 1}, {3, 0});
    std::vector<double> count(5), probability(5);
    for (std::size_t i = 0; i < n; ++i) {
        const auto v = static_cast<std::size_t>(b.token[i]);
        ++count[v];
        probability[v] = std::exp(static_cast<double>(b.log_prob[i]));
    }
    double total = 0;
    for (std::size_t v = 0; v < 5; ++v) {
        const double p = probability[v];
        total += p;
        CHECK(std::abs(count[v] / n - p) < 5 * std::sqrt(p * (1 - p) / n));
    }
    CHECK(total == Approx(1).epsilon(1e-5));
}

TEST_CASE("lstm_policy: a row does not depend on the rows beside it", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    token_prompts prompts;
    for (int i = 0; i < 40; ++i) prompts.add(i % 2 ? std::vector<std::int32_t>{1, 2} : std::vector<std::int32_t>{3});
    const auto together = policy.rollout(prompts, ids(40, 100), {.max_length = 9}, {1, 2});
    outputs<double> all(together);
    policy.evaluate(together, all.view());
    for (std::size_t i = 0; i < 40; ++i) {
        const std::vector<std::size_t> pick = {i};
        const auto alone = policy.rollout(select(prompts, pick), ids(1, 100 + i), {.max_length = 9}, {1, 2});
        REQUIRE(std::ranges::equal(alone.token, together.row(i)));
        const auto expected = std::span(together.log_prob).subspan(together.offset[i], together.length[i]);
        REQUIRE(std::ranges::equal(alone.log_prob, expected));  // to the bit
        outputs<double> one(alone);
        policy.evaluate(select(together, pick), one.view());
        REQUIRE(
            std::ranges::equal(one.log_prob, std::span(all.log_prob).subspan(together.offset[i], together.length[i])));
    }
}

TEST_CASE("lstm: select and concat", "[lstm]") {
    for (const bool with_prompts : {false, true}) {
        lstm_policy<double> policy(small());
        perturb(policy);
        lstm_scorer<double> scorer(policy, {.pool = pooling::mean});
        perturb(scorer);
        const auto b = mixed_batch<double>(with_prompts);
        const std::vector<std::size_t> pick = {3, 0, 0, 8, 2, 5};
        const auto joined = concat(select(b, pick), b);
        outputs<double> whole(b), parts(joined);
        policy.evaluate(b, whole.view());
        policy.evaluate(joined, parts.view());
        std::vector<double> score(rows(b)), scores(rows(joined));
        scorer.evaluate(b, score);
        scorer.evaluate(joined, scores);
        for (std::size_t i = 0; i < rows(joined); ++i) {
            const std::size_t from = i < pick.size() ? pick[i] : i - pick.size();
            REQUIRE(scores[i] == score[from]);
            for (std::size_t t = 0; t < joined.length[i]; ++t)
                REQUIRE(parts.log_prob[joined.offset[i] + t] == whole.log_prob[b.offset[from] + t]);
        }
    }
}

TEST_CASE("lstm: gradients accumulate; tapes live side by side; step and discard clear", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    const auto b = mixed_batch<double>(true);
    const auto x = numbers<double>(b.token.size(), 1), y = numbers<double>(b.token.size(), 2);
    auto sum = x;
    for (std::size_t i = 0; i < y.size(); ++i) sum[i] += y[i];
    outputs<double> out(b);
    auto first = policy.forward(b, out.view());
    auto other = b;
    auto second = policy.forward(other, out.view());
    other = {};  // a tape needs no batch
    policy.evaluate(b, out.view());
    policy.backward(std::move(second), {.d_log_prob = shaped(y, b), .d_entropy = {}, .d_value = {}});
    policy.backward(std::move(first), {.d_log_prob = shaped(x, b), .d_entropy = {}, .d_value = {}});
    const auto twice = gradients(policy);
    CHECK_THROWS_AS(policy.backward(std::move(first), {}), shape_error);
    policy.discard();
    for (const double g : gradients(policy)) REQUIRE(g == 0);
    policy.backward(policy.forward(b, out.view()), {.d_log_prob = shaped(sum, b), .d_entropy = {}, .d_value = {}});
    const auto once = gradients(policy);
    for (std::size_t i = 0; i < once.size(); ++i) REQUIRE(once[i] == Approx(twice[i]).margin(1e-13));

    double norm = 0;
    for (const double g : once) norm += g * g;
    auto copy = policy.clone();
    const auto report = policy.step({.learning_rate = 1e-2});
    CHECK(report.applied);
    CHECK(report.grad_norm == Approx(std::sqrt(norm)));
    for (const double g : gradients(policy)) REQUIRE(g == 0);
    CHECK(values(policy) != values(copy));
    for (const double g : gradients(copy)) REQUIRE(g == 0);  // a clone begins without any

    // No cotangent: no gradient.
    policy.backward(policy.forward(b, out.view()), {});
    for (const double g : gradients(policy)) REQUIRE(g == 0);

    const auto before = values(copy);
    copy.parameters()[0].gradients[0] = std::nan("");
    CHECK_FALSE(copy.step({}).applied);
    CHECK(values(copy) == before);
    for (const double g : gradients(copy)) REQUIRE(g == 0);
}

TEMPLATE_TEST_CASE("lstm: a clone of a trained model is the model loaded anew", "[lstm]", float, double) {
    using T = TestType;
    const auto b = mixed_batch<T>(true);
    outputs<T> out(b);
    std::vector<T> score(rows(b));
    const auto move_policy = [&](lstm_policy<T>& p, std::uint64_t seed, bool step = true) {
        const auto c = numbers<T>(b.token.size(), seed);
        p.backward(p.forward(b, out.view()), {.d_log_prob = shaped(c, b), .d_entropy = {}, .d_value = {}});
        if (step) REQUIRE(p.step({.learning_rate = 0.03}).applied);
    };
    const auto move_scorer = [&](lstm_scorer<T>& s, std::uint64_t seed, bool step = true) {
        s.backward(s.forward(b, score), numbers<T>(rows(b), seed));
        if (step) REQUIRE(s.step({.learning_rate = 0.03}).applied);
    };
    const auto check = [](auto trained, auto loaded, const auto& move) {
        for (const std::uint64_t seed : {1u, 2u, 3u}) move(trained, seed);
        move(trained, 4, false);
        auto clone = trained.clone();
        const auto copy = trained;
        REQUIRE(clone.optimizer_state().steps == 0);
        REQUIRE(clone.optimizer_state().first.empty());
        for (std::size_t k = 0; k < loaded.parameters().size(); ++k)
            std::ranges::copy(trained.parameters()[k].values, loaded.parameters()[k].values.begin());
        for (const std::uint64_t seed : {5u, 6u}) {
            move(clone, seed);
            move(loaded, seed);
            REQUIRE(values(clone) == values(loaded));
        }
        auto full = copy;
        REQUIRE(gradients(full) == gradients(trained));
        for (const std::uint64_t seed : {5u, 6u}) {
            move(full, seed);
            move(trained, seed);
        }
        REQUIRE(values(full) == values(trained));
        REQUIRE(values(full) != values(clone));
    };
    check(lstm_policy<T>(small()), lstm_policy<T>(small()), move_policy);
    for (const double dropout : {0.0, 0.5}) {
        const lstm_scorer<T> scorer({.vocabulary = 5, .embedding = 3, .hidden = 7, .dropout = dropout});
        check(scorer, scorer, move_scorer);
    }
}

TEST_CASE("lstm: copies and moves refer to their own parameters", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    const auto b = mixed_batch<double>(false);
    outputs<double> expected(b), actual(b);
    policy.evaluate(b, expected.view());
    lstm_policy<double> copy = policy;
    for (const auto& block : copy.parameters())
        for (double& x : block.values) x = 0;
    policy.evaluate(b, actual.view());
    CHECK(actual.log_prob == expected.log_prob);
    lstm_policy<double> moved = std::move(policy);
    moved.evaluate(b, actual.view());
    CHECK(actual.log_prob == expected.log_prob);
    copy = moved;
    {
        lstm_policy<double> other(small(5));
        copy = std::move(other);
        copy = moved.clone();
    }
    copy.evaluate(b, actual.view());
    CHECK(actual.log_prob == expected.log_prob);
    const double kept = moved.parameters()[0].values[0];
    copy.parameters()[0].values[0] = kept + 1;
    CHECK(moved.parameters()[0].values[0] == kept);

    lstm_scorer<double> scorer(moved, {});
    perturb(scorer);
    std::vector<double> one(rows(b)), two(rows(b));
    scorer.evaluate(b, one);
    lstm_scorer<double> twin = scorer.clone();
    for (const auto& block : scorer.parameters())
        for (double& x : block.values) x = 0;
    lstm_scorer<double> third = std::move(twin);
    third.evaluate(b, two);
    CHECK(one == two);
}

TEST_CASE("lstm_policy: truncated sampling stores what it sampled with", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    const std::size_t n = 4000;
    // All first-token log-probs of the plain policy.
    token_batch<double> every;
    for (std::int32_t v = 0; v < 5; ++v) every.add(std::vector{v}, row_end::truncated, {}, 0.9);
    outputs<double> plain(every);
    policy.evaluate(every, plain.view());
    std::vector<std::size_t> order = {0, 1, 2, 3, 4};
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return plain.log_prob[a] > plain.log_prob[b]; });
    const auto check = [&](const rollout_options& o, std::size_t kept) {
        double mass = 0;
        for (std::size_t i = 0; i < kept; ++i) mass += std::exp(plain.log_prob[order[i]]);
        const auto b = policy.rollout({}, ids(n), o, {4, 4});
        std::set<std::int32_t> seen;
        for (std::size_t i = 0; i < n; ++i) {
            const auto v = static_cast<std::size_t>(b.token[i]);
            seen.insert(b.token[i]);
            REQUIRE(b.log_prob[i] == Approx(plain.log_prob[v] - std::log(mass)).epsilon(1e-12));
        }
        REQUIRE(seen.size() == kept);
        for (std::size_t i = 0; i < kept; ++i) REQUIRE(seen.contains(static_cast<std::int32_t>(order[i])));
    };
    check({.temperature = 0.9, .max_length = 1, .top_k = 2}, 2);
    check({.temperature = 0.9, .max_length = 1, .top_k = 1}, 1);
    check({.temperature = 0.9, .max_length = 1, .top_k = 50}, 5);
    const double two = std::exp(plain.log_prob[order[0]]) + std::exp(plain.log_prob[order[1]]);
    check({.temperature = 0.9, .max_length = 1, .top_p = two - 1e-6}, 2);
    check({.temperature = 0.9, .max_length = 1, .top_p = two + 1e-6}, 3);
    check({.temperature = 0.9, .max_length = 1, .top_k = 2, .top_p = 0.99}, 2);
}

TEST_CASE("lstm_policy: rollout_from continues prefixes", "[lstm]") {
    lstm_policy<double> policy(small());
    perturb(policy);
    token_prompts prompts;
    for (int i = 0; i < 8; ++i) prompts.add(std::vector<std::int32_t>{i % 3, 2});
    const auto b = policy.rollout(prompts, ids(8), {.max_length = 6}, {5, 0});
    std::vector<prefix> from;
    for (std::size_t i = 0; i < 8; ++i)
        for (std::uint32_t k = 0; k <= b.length[i]; ++k) from.push_back({i, k});
    const auto more = policy.rollout_from(b, from, ids(from.size()), {.temperature = 1, .max_length = 6}, {5, 0});
    REQUIRE(rows(more) == from.size());
    REQUIRE(rows(more.prompt) == from.size());
    outputs<double> out(more);
    policy.evaluate(more, out.view());
    for (std::size_t i = 0; i < from.size(); ++i) {
        const auto start = b.row(from[i].row).first(from[i].length);
        REQUIRE(more.length[i] >= from[i].length);
        REQUIRE(std::ranges::equal(more.row(i).first(from[i].length), start));
        if (!start.empty() && start.back() == end) {
            REQUIRE(more.length[i] == from[i].length);
            REQUIRE(more.end[i] == row_end::terminated);
        }
        REQUIRE((more.row(i).back() == end) == (more.end[i] == row_end::terminated));
    }
    for (std::size_t i = 0; i < more.token.size(); ++i)
        REQUIRE(more.log_prob[i] == Approx(out.log_prob[i]).epsilon(1e-12));

    auto demonstrations = b;
    demonstrations.log_prob.clear();
    const auto same = policy.rollout_from(demonstrations, from, ids(from.size()), {.max_length = 6}, {5, 0});
    CHECK(same.token == more.token);
    for (std::size_t i = 0; i < more.token.size(); ++i)
        REQUIRE(more.log_prob[i] == Approx(same.log_prob[i]).epsilon(1e-12));

    const std::vector<prefix> too_long = {{0, b.length[0] + 1}};
    CHECK_THROWS_AS(policy.rollout_from(b, too_long, ids(1), {}, {}), shape_error);
}

TEST_CASE("lstm: gradients of sizes beyond one block and one tile", "[lstm]") {
    // Along one direction; rows enough for several threads and for more than one block of states.
    lstm_policy<double> policy(
        {.vocabulary = 90, .embedding = 19, .hidden = 70, .end_token = 89, .max_length = 7, .seed = 2});
    perturb(policy);
    const auto b = policy.rollout({}, ids(400), {}, {8, 1});
    const auto c = numbers<double>(b.token.size(), 1), e = numbers<double>(b.token.size(), 2);
    const auto d = numbers<double>(rows(b), 3);
    outputs<double> out(b);
    std::vector<double> score(rows(b));
    const auto along = [](auto& model, const std::function<double()>& f) {
        const double step = 1e-5;
        double actual = 0, expected = 0;
        std::uint64_t seed = 50;
        for (const auto& block : model.parameters()) {
            const auto direction = numbers<double>(block.values.size(), ++seed);
            for (std::size_t i = 0; i < direction.size(); ++i) actual += direction[i] * block.gradients[i];
            const std::vector<double> before(block.values.begin(), block.values.end());
            for (const double sign : {1.0, -1.0}) {
                for (std::size_t i = 0; i < direction.size(); ++i)
                    block.values[i] = before[i] + sign * step * direction[i];
                expected += sign * f() / (2 * step);
            }
            std::ranges::copy(before, block.values.begin());
        }
        CHECK(actual == Approx(expected).epsilon(1e-6));
    };
    policy.backward(policy.forward(b, out.view()),
                    {.d_log_prob = shaped(c, b), .d_entropy = shaped(e, b), .d_value = {}});
    along(policy, [&] {
        policy.evaluate(b, out.view());
        return dot(c, out.log_prob) + dot(e, out.entropy);
    });
    for (const pooling pool : {pooling::last, pooling::mean}) {
        lstm_scorer<double> scorer(policy, {.pool = pool});
        perturb(scorer);
        scorer.backward(scorer.forward(b, score), d);
        along(scorer, [&] {
            scorer.evaluate(b, score);
            return dot(d, score);
        });
    }
}

TEST_CASE("lstm_policy: a large vocabulary", "[lstm]") {
    lstm_policy<double> policy({.vocabulary = 5000, .embedding = 4, .hidden = 8, .end_token = 0, .max_length = 5});
    token_prompts prompts;
    for (int i = 0; i < 70; ++i) prompts.add(std::vector<std::int32_t>{4999, i % 7});
    const auto b = policy.rollout(prompts, ids(70), {}, {1, 1});
    outputs<double> one(b), two(b);
    policy.evaluate(b, one.view());
    for (std::size_t i = 0; i < b.token.size(); ++i) REQUIRE(b.log_prob[i] == Approx(one.log_prob[i]).epsilon(1e-12));
    const auto c = numbers<double>(b.token.size(), 1);
    policy.backward(policy.forward(b, two.view()), {.d_log_prob = shaped(c, b), .d_entropy = {}, .d_value = {}});
    CHECK(one.log_prob == two.log_prob);
    const auto embedding = policy.parameters()[0];
    for (const std::size_t token : {std::size_t{4999}, std::size_t{3}, std::size_t{5000}}) {
        double& x = embedding.values[token * 4 + 1];
        const double before = x;
        double difference = 0;
        for (const double sign : {1.0, -1.0}) {
            x = before + sign * 1e-5;
            policy.evaluate(b, one.view());
            difference += sign * dot(c, one.log_prob) / 2e-5;
        }
        x = before;
        CHECK(embedding.gradients[token * 4 + 1] == Approx(difference).epsilon(1e-6));
    }
}

TEST_CASE("lstm: the conformance kit finds nothing", "[lstm]") {
    token_prompts prompts;
    prompts.add(std::vector<std::int32_t>{1, 2});
    prompts.add({});
    for (const bool with_prompts : {false, true}) {
        lstm_policy<double> policy(small());
        const auto report = check_conformance(policy, with_prompts ? prompts : token_prompts{});
        INFO(to_string(report));
        CHECK(report.ok());
        const auto b = mixed_batch<double>(with_prompts);
        for (const pooling pool : {pooling::last, pooling::mean}) {
            lstm_scorer<double> scorer({.vocabulary = 5, .embedding = 3, .hidden = 7, .pool = pool});
            const auto found = check_conformance_scorer(scorer, b);
            INFO(to_string(found));
            CHECK(found.ok());
        }
    }
    lstm_policy<float> policy(small(16));
    const auto report = check_conformance(policy, token_prompts{});
    INFO(to_string(report));
    CHECK(report.ok());
    lstm_scorer<float> scorer({.vocabulary = 5, .embedding = 3, .hidden = 16});
    const auto found = check_conformance_scorer(scorer, mixed_batch<float>(false));
    INFO(to_string(found));
    CHECK(found.ok());
}

TEST_CASE("lstm: degenerate batches", "[lstm]") {
    lstm_policy<float> policy(small());
    lstm_scorer<float> scorer(policy, {.pool = pooling::mean});
    perturb(scorer);
    token_batch<float> none, empty, single;
    empty.add({}, row_end::truncated);
    single.add(std::vector<std::int32_t>{end}, row_end::terminated);
    for (const auto* b : {&none, &empty, &single}) {
        outputs<float> out(*b);
        policy.evaluate(*b, out.view());
        const std::vector<float> c(b->token.size(), 1.0f), d(rows(*b), 1.0f);
        policy.backward(policy.forward(*b, out.view()),
                        {.d_log_prob = shaped(c, *b), .d_entropy = shaped(c, *b), .d_value = {}});
        for (const float x : out.log_prob) CHECK(x < 0);
        std::vector<float> score(rows(*b));
        scorer.backward(scorer.forward(*b, score), d);
    }
    CHECK(rows(policy.rollout({}, {}, {}, {})) == 0);
    CHECK(rows(policy.rollout({}, ids(1), {}, {})) == 1);
}

TEST_CASE("lstm: wrong input is refused", "[lstm]") {
    CHECK_THROWS_AS(lstm_policy<float>({.vocabulary = 0}), option_error);
    CHECK_THROWS_AS(lstm_policy<float>({.vocabulary = 3, .end_token = 3}), option_error);
    CHECK_THROWS_AS(lstm_scorer<float>({.vocabulary = 3, .dropout = 1}), option_error);
    lstm_policy<float> policy(small());
    token_batch<float> b;
    b.add(std::vector<std::int32_t>{0, 5}, row_end::truncated);
    outputs<float> out(b);
    CHECK_THROWS_AS(policy.evaluate(b, out.view()), numeric_error);
    b.token[1] = -1;
    CHECK_THROWS_AS(policy.evaluate(b, out.view()), numeric_error);
    b.token[1] = 1;
    policy.evaluate(b, out.view());
    policy_outputs<float> value;
    value.value = out.view().log_prob;
    CHECK_THROWS_AS(policy.evaluate(b, value), option_error);
    const auto other = mixed_batch<float>(false);
    CHECK_THROWS_AS(policy.evaluate(other, out.view()), shape_error);
    auto tape = policy.forward(b, out.view());
    const std::vector<float> c(other.token.size());
    CHECK_THROWS_AS(policy.backward(std::move(tape), {.d_log_prob = shaped(c, other), .d_entropy = {}, .d_value = {}}),
                    shape_error);
    token_prompts prompts;
    prompts.add({});
    CHECK_THROWS_AS(policy.rollout(prompts, ids(2), {}, {}), shape_error);
    CHECK_THROWS_AS(policy.rollout({}, ids(2), {.temperature = 0}, {}), option_error);
}

TEST_CASE("lstm: bits repeat; threads change gradients by rounding only", "[lstm]") {
    lstm_options options{.vocabulary = 27, .embedding = 16, .hidden = 48, .end_token = 26, .max_length = 15};
    lstm_policy<float> policy(options);
    const auto b = policy.rollout({}, ids(200), {}, {2, 0});
    const auto c = numbers<float>(b.token.size(), 8);
    const auto d = numbers<float>(rows(b), 9);
    struct result {
        std::vector<float> log_prob, score, policy, scorer;
    };
    const auto run = [&] {
        lstm_policy<float> p = policy.clone();
        lstm_scorer<float> s(policy, {.dropout = 0.5});
        perturb(s);
        outputs<float> out(b);
        result r;
        r.score.resize(rows(b));
        p.backward(p.forward(b, out.view()), {.d_log_prob = shaped(c, b), .d_entropy = shaped(c, b), .d_value = {}});
        s.backward(s.forward(b, r.score), d);
        r.log_prob = out.log_prob;
        r.policy = gradients(p);
        r.scorer = gradients(s);
        return r;
    };
    const auto same = [](const result& a, const result& x) {
        CHECK(a.log_prob == x.log_prob);
        CHECK(a.score == x.score);
        CHECK(a.policy == x.policy);
        CHECK(a.scorer == x.scorer);
    };
    same(run(), run());
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    std::vector<result> results;
    for (const int n : {1, 2, 3}) {
        omp_set_num_threads(n);
        results.push_back(run());
        same(results.back(), run());
        CHECK(policy.rollout({}, ids(200), {}, {2, 0}).token == b.token);
        CHECK(policy.rollout({}, ids(200), {}, {2, 0}).log_prob == b.log_prob);
    }
    omp_set_num_threads(before);
    const auto close = [](const std::vector<float>& x, const std::vector<float>& y) {
        double error = 0, size = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            error += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
            size += std::pow(static_cast<double>(x[i]), 2);
        }
        CHECK(std::sqrt(error / size) < 1e-6);
    };
    for (std::size_t i = 1; i < results.size(); ++i) {
        CHECK(results[0].log_prob == results[i].log_prob);  // to the bit
        CHECK(results[0].score == results[i].score);
        close(results[0].policy, results[i].policy);
        close(results[0].scorer, results[i].scorer);
    }
#endif
}

#ifdef _OPENMP
TEST_CASE("lstm: what a thread throws reaches the caller", "[lstm]") {
    const int before = omp_get_max_threads();
    omp_set_num_threads(2);
    lstm_policy<float> policy({.vocabulary = 27, .embedding = 16, .hidden = 48, .end_token = 26, .max_length = 15});
    const auto b = policy.rollout({}, ids(200), {}, {2, 0});
    const auto message = [&] {
        return rlgaf_test::message_of<numeric_error>([&] { (void)policy.rollout({}, ids(200), {}, {2, 0}); });
    };
    for (const std::size_t block : {std::size_t{2}, std::size_t{5}}) {  // recurrent: seen late; output_bias: at once
        float& broken = policy.parameters()[block].values[0];
        const float kept = std::exchange(broken, std::nanf(""));
        CHECK(message().find("expected a positive sum") != std::string::npos);
        CHECK(message() == message());
        broken = kept;
        const auto again = policy.rollout({}, ids(200), {}, {2, 0});
        CHECK(again.token == b.token);
        CHECK(again.log_prob == b.log_prob);
    }
    for (const int n : {2, 3}) {
        std::vector<int> ran(5);
        const auto run = [&] {
            detail::lstm::for_each_part(ran.size(), [&](std::size_t i) {
                ++ran[i];
                if (i == 1 || i == 3) throw numeric_error("part " + std::to_string(i));
                if (i == 4) throw std::bad_alloc();
            });
        };
        omp_set_num_threads(n);
        CHECK(rlgaf_test::message_of<numeric_error>(run) == "part 1");
        CHECK(ran == std::vector<int>(5, 1));
    }
    omp_set_num_threads(before);
}
#endif

TEST_CASE("lstm_policy: rollout_from keeps masks", "[lstm]") {
    lstm_policy<double> policy(small());
    token_batch<double> b;
    const std::vector<std::int32_t> row = {0, 1, 2, end};
    const std::vector<std::uint8_t> mask = {1, 0, 0, 1};
    b.add(row, row_end::terminated, {}, 1, mask);
    const std::vector<prefix> from = {{0, 3}, {0, 0}};
    const auto more = policy.rollout_from(b, from, ids(2), {.max_length = 5}, {});
    REQUIRE(more.mask.size() == more.token.size());
    CHECK(more.mask[0] == 1);
    CHECK(more.mask[1] == 0);
    CHECK(more.mask[2] == 0);
    for (std::size_t i = 3; i < more.mask.size(); ++i) CHECK(more.mask[i] == 1);
}

TEST_CASE("lstm: learning works", "[lstm]") {
    // A few words are learnt by heart: the likelihood rises.
    lstm_options options{.vocabulary = 27, .embedding = 16, .hidden = 33, .end_token = 26, .max_length = 8};
    lstm_policy<float> policy(options);
    token_batch<float> words;
    for (const std::string word : {"ada", "adam", "eve", "cain", "abel", "seth"}) {
        std::vector<std::int32_t> row;
        for (const char letter : word) row.push_back(letter - 'a');
        row.push_back(26);
        words.add(row, row_end::terminated);
    }
    outputs<float> out(words);
    const std::vector<float> c(words.token.size(), -1.0f / static_cast<float>(words.token.size()));
    const auto likelihood = [&] {
        double total = 0;
        for (const float x : out.log_prob) total += static_cast<double>(x) / static_cast<double>(out.log_prob.size());
        return total;
    };
    policy.evaluate(words, out.view());
    CHECK(likelihood() == Approx(-std::log(27.0)).epsilon(0.1));
    for (int i = 0; i < 150; ++i) {
        policy.backward(policy.forward(words, out.view()),
                        {.d_log_prob = shaped(c, words), .d_entropy = {}, .d_value = {}});
        REQUIRE(policy.step({.learning_rate = 1e-2}).applied);
    }
    CHECK(likelihood() > -0.6);
    std::set<std::vector<std::int32_t>> known;
    for (std::size_t i = 0; i < rows(words); ++i) known.emplace(words.row(i).begin(), words.row(i).end());
    const auto sampled = policy.rollout({}, ids(100), {}, {1, 1});
    int hits = 0;
    for (std::size_t i = 0; i < 100; ++i)
        hits += known.contains(std::vector<std::int32_t>(sampled.row(i).begin(), sampled.row(i).end()));
    CHECK(hits > 80);

    lstm_scorer<float> scorer({.vocabulary = 27, .embedding = 16, .hidden = 33});
    auto both = concat(words, policy.rollout({}, ids(6), {.temperature = 100}, {1, 2}));
    std::vector<float> score(12), d(12);
    for (int i = 0; i < 60; ++i) {
        auto tape = scorer.forward(both, score);
        for (std::size_t k = 0; k < 12; ++k)
            d[k] = static_cast<float>(sigmoid(static_cast<double>(score[k])) - (k < 6 ? 1.0 : 0.0));
        scorer.backward(std::move(tape), d);
        REQUIRE(scorer.step({.learning_rate = 1e-2}).applied);
    }
    scorer.evaluate(both, score);
    for (std::size_t k = 0; k < 12; ++k) CHECK((score[k] > 0) == (k < 6));
}
