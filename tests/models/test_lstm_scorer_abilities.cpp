#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "rlgaf/models/lstm_scorer.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::dice;
using rlgaf_test::gap;
using rlgaf_test::slope;

static_assert(perturbs_inputs<lstm_scorer<float>, token_batch<float>>);
static_assert(perturbs_inputs<lstm_scorer<double>, token_batch<double>>);
static_assert(scores_tokens<lstm_scorer<float>, token_batch<float>>);
static_assert(scores_tokens<lstm_scorer<double>, token_batch<double>>);

namespace {

constexpr std::size_t vocabulary = 5;

/// Numbers in [-1, 1].
template <class T>
std::vector<T> numbers(dice& d, std::size_t n) {
    std::vector<T> x(n);
    for (T& v : x) v = static_cast<T>(d.uniform(-1, 1));
    return x;
}

struct shape {
    std::size_t hidden = 6, outputs = 1;
    pooling pool = pooling::last;
    double dropout = 0;
};

/// Every parameter gets a value, so that no gradient is zero for want of one.
template <class T>
lstm_scorer<T> scorer_of(const shape& s, std::uint64_t seed = 1) {
    lstm_scorer<T> scorer({.vocabulary = vocabulary,
                           .embedding = 3,
                           .hidden = s.hidden,
                           .pool = s.pool,
                           .dropout = s.dropout,
                           .seed = seed,
                           .outputs = s.outputs});
    dice d(seed + 100);
    for (const auto& block : scorer.parameters())
        for (T& x : block.values) x += static_cast<T>(d.uniform(-1, 1) / 4);
    return scorer;
}

/// Rows of 0 to `longest` tokens, some of them alike.
template <class T>
token_batch<T> random_batch(dice& d, std::size_t n, bool prompts, bool masks = false, std::size_t longest = 6) {
    token_batch<T> b;
    for (std::size_t i = 0; i < n; ++i) {
        std::vector<std::int32_t> row(d.below(longest + 1)), prompt(prompts ? d.below(4) : 0);
        std::vector<std::uint8_t> mask(masks ? row.size() : 0);
        for (auto& x : row) x = static_cast<std::int32_t>(d.below(vocabulary));
        for (auto& x : prompt) x = static_cast<std::int32_t>(d.below(vocabulary));
        for (auto& x : mask) x = static_cast<std::uint8_t>(d.below(2));
        b.add(row, d.below(2) == 0 ? row_end::terminated : row_end::truncated, {}, 1, mask);
        if (prompts) b.prompt.add(prompt);
    }
    return b;
}

template <class T>
std::vector<T> gradients(lstm_scorer<T>& scorer) {
    std::vector<T> g;
    for (const auto& block : scorer.parameters()) g.insert(g.end(), block.gradients.begin(), block.gradients.end());
    return g;
}
template <class T>
std::vector<T> evaluated(lstm_scorer<T>& scorer, const token_batch<T>& b) {
    std::vector<T> score(rows(b) * scorer.width(), T(9));
    scorer.evaluate(b, score);
    return score;
}
template <class T>
std::vector<T> moved(lstm_scorer<T>& scorer, const token_batch<T>& b, const typename lstm_scorer<T>::perturbation& p) {
    std::vector<T> score(rows(b) * scorer.width(), T(9));
    (void)scorer.forward(b, p, score);
    return score;
}
template <class T>
std::vector<T> token_scores(lstm_scorer<T>& scorer, const token_batch<T>& b) {
    std::vector<T> score(b.token.size(), T(9));
    scorer.evaluate_tokens(b, ragged_view<T>::packed(score.data(), b.offset));
    return score;
}
template <class T>
std::vector<T> flat(const typename lstm_scorer<T>::perturbation& p) {
    std::vector<T> x;
    for (std::size_t i = 0; i < p.size(); ++i) x.insert(x.end(), p.row(i).begin(), p.row(i).end());
    return x;
}
template <class T>
double dot(const std::vector<T>& a, const std::vector<T>& b) {
    double s = 0;
    for (std::size_t i = 0; i < a.size(); ++i) s += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return s;
}
template <class T>
double largest(const std::vector<T>& a) {
    return gap(a, std::vector<T>(a.size()));
}

template <class F>
std::vector<double> slopes(lstm_scorer<double>& scorer, F&& f) {
    std::vector<double> g;
    for (const auto& block : scorer.parameters())
        for (double& x : block.values) g.push_back(slope(f, x));
    return g;
}

/// f(shape, prompts, seed) for many small nets.
template <class F>
void for_each_net(F&& f) {
    std::uint64_t seed = 1;
    for (const pooling pool : {pooling::last, pooling::mean})
        for (const std::size_t outputs : {1u, 3u})
            for (const bool prompts : {false, true})
                for (const std::size_t hidden : {1u, 4u, 7u}) {
                    CAPTURE(static_cast<int>(pool), outputs, prompts, hidden);
                    f(shape{hidden, outputs, pool}, prompts, ++seed);
                }
}

}  // namespace

TEMPLATE_TEST_CASE("lstm_scorer: inputs that are moved by nothing score as ever", "[lstm][abilities]", float, double) {
    using T = TestType;
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
    for (const pooling pool : {pooling::last, pooling::mean})
        for (const std::size_t hidden : {7u, 33u})
            for (const bool prompts : {false, true}) {
                dice d(hidden);
                auto scorer = scorer_of<T>({.hidden = hidden, .outputs = 2, .pool = pool});
                const auto b = random_batch<T>(d, 300, prompts);  // more states than one product takes
                const auto c = numbers<T>(d, 2 * rows(b));
                const auto expected = evaluated(scorer, b);
                auto still = scorer.noise(b, 1, {1, 0});
                scorer.scale(still, std::vector<T>(rows(b), T{0}));
                CHECK(moved(scorer, b, {}) == expected);
                CHECK(gap(moved(scorer, b, still), expected) <= tolerance);

                std::vector<T> score(2 * rows(b));
                scorer.backward(scorer.forward(b, score), c);
                const auto g = gradients(scorer);
                scorer.discard();
                scorer.backward(scorer.forward(b, still, score), c);
                CHECK(gap(gradients(scorer), g) <= tolerance * largest(g));
            }
}

TEST_CASE("lstm_scorer: all the way towards other tokens is to read them", "[lstm][abilities]") {
    for (const bool prompts : {false, true}) {
        dice d(3);
        auto scorer = scorer_of<double>({.pool = pooling::mean});
        const auto a = random_batch<double>(d, 30, prompts);
        auto b = random_batch<double>(d, 30, prompts);
        token_batch<double> mixed;
        b.prompt = mixed.prompt = a.prompt;
        for (std::size_t i = 0; i < rows(a); ++i) {
            std::vector<std::int32_t> row(a.row(i).begin(), a.row(i).end());
            for (std::size_t t = 0; t < std::min<std::size_t>(row.size(), b.length[i]); ++t) row[t] = b.row(i)[t];
            mixed.add(row, a.end[i]);
        }
        const auto all = scorer.towards(a, b, std::vector<double>(rows(a), 1.0));
        CHECK(gap(moved(scorer, a, all), evaluated(scorer, mixed)) <= 1e-12);
        CHECK(gap(evaluated(scorer, a), evaluated(scorer, mixed)) > 1e-3);
        const auto none = scorer.towards(a, b, std::vector<double>(rows(a), 0.0));
        CHECK(gap(moved(scorer, a, none), evaluated(scorer, a)) <= 1e-12);

        // Half of the way there and half of the way back from there meet, where the rows are as long as each other.
        auto half = scorer.towards(a, b, std::vector<double>(rows(a), 0.5));
        auto twice = half;
        scorer.add(twice, half);
        CHECK(gap(flat<double>(twice), flat<double>(all)) <= 1e-15);
        const auto from_a = moved(scorer, a, half);
        const auto from_b = moved(scorer, b, scorer.towards(b, a, std::vector<double>(rows(a), 0.5)));
        std::size_t met = 0;
        for (std::size_t i = 0; i < rows(a); ++i)
            if (a.length[i] == b.length[i]) {
                CHECK(from_a[i] == Approx(from_b[i]).epsilon(1e-12));
                ++met;
            }
        CHECK(met > 0);
    }
}

TEST_CASE("lstm_scorer: input_gradient is that of finite differences", "[lstm][abilities]") {
    for_each_net([](const shape& s, bool prompts, std::uint64_t seed) {
        dice d(seed);
        auto scorer = scorer_of<double>(s, seed);
        const auto b = random_batch<double>(d, 7, prompts, true);
        const auto c = numbers<double>(d, rows(b) * s.outputs);
        auto p = scorer.noise(b, 0.3, {seed, 0});
        const auto g = scorer.input_gradient(b, p, c);
        CHECK(largest(gradients(scorer)) == 0);
        REQUIRE(g.size() == rows(b));
        for (std::size_t i = 0; i < rows(b); ++i) {
            REQUIRE(g.row(i).size() == p.row(i).size());
            for (std::size_t j = 0; j < p.row(i).size(); ++j)
                REQUIRE(
                    g.row(i)[j] ==
                    Approx(slope([&] { return dot(c, moved(scorer, b, p)); }, p.row(i)[j])).margin(1e-9).epsilon(1e-6));
        }
        // Where nothing is moved, too.
        auto still = p;
        scorer.scale(still, std::vector<double>(rows(b), 0.0));
        CHECK(flat<double>(scorer.input_gradient(b, {}, c)) == flat<double>(scorer.input_gradient(b, still, c)));
    });
}

TEST_CASE("lstm_scorer: parameter gradients at moved inputs are those of finite differences", "[lstm][abilities]") {
    for_each_net([](const shape& s, bool prompts, std::uint64_t seed) {
        dice d(seed);
        auto scorer = scorer_of<double>(s, seed);
        const auto b = random_batch<double>(d, 6, prompts, true);
        const auto c = numbers<double>(d, rows(b) * s.outputs);
        const auto p = scorer.noise(b, 0.3, {seed, 0});
        std::vector<double> score(c.size());
        scorer.backward(scorer.forward(b, p, score), c);
        const auto g = gradients(scorer);
        const auto expected = slopes(scorer, [&] { return dot(c, moved(scorer, b, p)); });
        REQUIRE(gap(g, expected) <= 1e-7 * std::max(1.0, largest(expected)));

        // They accumulate, and tapes of both kinds live side by side.
        auto plain = scorer.forward(b, score);
        auto displaced = scorer.forward(b, p, score);
        (void)scorer.input_gradient(b, p, c);
        scorer.backward(std::move(displaced), c);
        scorer.backward(std::move(plain), c);
        const auto twice = gradients(scorer);
        const auto ordinary = slopes(scorer, [&] { return dot(c, evaluated(scorer, b)); });
        for (std::size_t i = 0; i < g.size(); ++i)
            REQUIRE(twice[i] == Approx(2 * g[i] + ordinary[i]).margin(1e-7).epsilon(1e-6));
    });
}

TEST_CASE("lstm_scorer: a difference of gradients is the gradient of the penalty", "[lstm][abilities]") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        dice d(seed);
        auto scorer = scorer_of<double>(
            {.hidden = 2 + d.below(5), .pool = d.below(2) == 0 ? pooling::last : pooling::mean}, seed);
        for (const auto& block : scorer.parameters())  // some nets are steep
            for (double& x : block.values) x *= seed % 3 == 0 ? 3 : 1;
        const auto b = random_batch<double>(d, 4, seed % 2 == 0);
        const std::vector<double> ones(rows(b), 1.0);
        const auto p = scorer.noise(b, 0.2, {seed, 0});
        const auto g = scorer.input_gradient(b, p, ones);
        std::vector<double> norm(rows(b)), step(rows(b)), score(rows(b)), weight(rows(b));
        scorer.row_norms(g, norm);
        for (std::size_t i = 0; i < rows(b); ++i) step[i] = 1e-4 / std::max(norm[i], 1.0);
        for (const double side : {1.0, -1.0}) {
            auto at = g;
            for (std::size_t i = 0; i < rows(b); ++i) {
                score[i] = side * step[i];
                weight[i] = side / (2 * step[i]);
            }
            scorer.scale(at, score);
            scorer.add(at, p);
            scorer.backward(scorer.forward(b, at, score), weight);
        }
        const auto expected = slopes(scorer, [&] {
            scorer.row_norms(scorer.input_gradient(b, p, ones), norm);
            return dot(norm, norm) / 2;
        });
        CAPTURE(seed, largest(expected));
        CHECK(largest(expected) > 1e-3);
        CHECK(gap(gradients(scorer), expected) <= 1e-4 * largest(expected));
    }
}

TEST_CASE("lstm_scorer: noise", "[lstm][abilities]") {
    dice d(2);
    auto scorer = scorer_of<double>({});
    const auto b = random_batch<double>(d, 400, true);
    const auto x = flat<double>(scorer.noise(b, 0.5, {3, 4}));
    REQUIRE(x.size() == 3 * (b.token.size() + b.prompt.token.size()));
    double sum = 0, squares = 0;
    for (const double v : x) {
        sum += v;
        squares += v * v;
    }
    const double n = static_cast<double>(x.size());
    CHECK(std::abs(sum / n) < 4 * 0.5 / std::sqrt(n));
    CHECK(squares / n == Approx(0.25).epsilon(4 * std::sqrt(2 / n)));
    CHECK(flat<double>(scorer.noise(b, 0.5, {3, 4})) == x);
    CHECK(flat<double>(scorer.noise(b, 0.5, {3, 5})) != x);
    const std::vector<std::size_t> few = {0, 1, 2};  // a row's noise does not depend on the rows after it
    const auto first = flat<double>(scorer.noise(select(b, few), 0.5, {3, 4}));
    CHECK(std::equal(first.begin(), first.end(), x.begin()));
    CHECK(largest(flat<double>(scorer.noise(b, 0, {3, 4}))) == 0);
}

TEST_CASE("lstm_scorer: norms, scale and add", "[lstm][abilities]") {
    auto scorer = scorer_of<float>({});
    token_batch<float> b;
    b.add(std::vector<std::int32_t>{1, 2}, row_end::terminated);
    b.add(std::vector<std::int32_t>{}, row_end::truncated);
    b.add(std::vector<std::int32_t>{3}, row_end::truncated);
    auto p = scorer.noise(b, 0, {1, 0});
    p.row(0)[0] = 3;
    p.row(0)[5] = -4;
    p.row(2)[2] = -2;
    std::vector<float> norm(3, 9.0f);
    scorer.row_norms(p, norm);
    CHECK(norm == std::vector<float>{5, 0, 2});
    scorer.scale(p, std::vector<float>{2, 7, -1});
    scorer.row_norms(p, norm);
    CHECK(norm == std::vector<float>{10, 0, 2});
    CHECK(p.row(2)[2] == 2);
    auto q = p;
    scorer.add(q, p);
    CHECK(q.row(0)[5] == -16);
    scorer.add(q, {});  // nothing is moved
    CHECK(q.row(0)[5] == -16);
    lstm_scorer<float>::perturbation none;
    scorer.scale(none, std::vector<float>{1, 2, 3});
    scorer.row_norms(none, norm);
    CHECK(norm == std::vector<float>{0, 0, 0});
    scorer.add(none, p);
    CHECK(flat<float>(none) == flat<float>(p));
}

TEST_CASE("lstm_scorer: a token's score is that of the row up to it", "[lstm][abilities]") {
    for (const pooling pool : {pooling::last, pooling::mean})
        for (const bool prompts : {false, true}) {
            dice d(5);
            auto scorer = scorer_of<double>({.pool = pool});
            const auto b = random_batch<double>(d, 25, prompts, true);
            std::vector<prefix> cut;
            for (std::size_t i = 0; i < rows(b); ++i)
                for (std::uint32_t t = 1; t <= b.length[i]; ++t) cut.push_back({i, t});
            const auto score = token_scores(scorer, b);
            CHECK(gap(score, evaluated(scorer, prefixes(b, cut))) <= 1e-13);
            CHECK(token_scores(scorer, b) == score);
            std::vector<double> forward(score.size());
            (void)scorer.forward_tokens(b, ragged_view<double>::packed(forward.data(), b.offset));
            CHECK(forward == score);
        }
}

TEST_CASE("lstm_scorer: gradients of token scores are those of finite differences", "[lstm][abilities]") {
    for (const double dropout : {0.0, 0.4})
        for (const pooling pool : {pooling::last, pooling::mean})
            for (const bool prompts : {false, true}) {
                CAPTURE(dropout, static_cast<int>(pool), prompts);
                dice d(6);
                auto scorer = scorer_of<double>({.hidden = 7, .pool = pool, .dropout = dropout});
                const auto b = random_batch<double>(d, 12, prompts);
                const auto c = numbers<double>(d, b.token.size());
                std::vector<double> score(b.token.size());
                const auto view = ragged_view<double>::packed(score.data(), b.offset);
                scorer.backward_tokens(scorer.forward_tokens(b, view),
                                       ragged_view<const double>::packed(c.data(), b.offset));
                const auto expected = slopes(scorer, [&] {
                    auto again = scorer.clone();  // drops what the first forward dropped
                    (void)again.forward_tokens(b, view);
                    return dot(c, score);
                });
                CHECK(gap(gradients(scorer), expected) <= 1e-8 * std::max(1.0, largest(expected)));
            }
}

TEST_CASE("lstm_scorer: dropout is on in forward, and off where scores are read or inputs moved", "[lstm][abilities]") {
    dice d(7);
    const auto b = random_batch<double>(d, 20, true);
    auto plain = scorer_of<double>({.hidden = 16, .outputs = 1});
    auto scorer = scorer_of<double>({.hidden = 16, .outputs = 1, .dropout = 0.5});
    auto twin = scorer.clone();
    const auto p = scorer.noise(b, 0.1, {1, 0});
    CHECK(evaluated(scorer, b) == evaluated(plain, b));
    CHECK(token_scores(scorer, b) == token_scores(plain, b));
    CHECK(moved(scorer, b, p) == moved(plain, b, p));
    CHECK(moved(scorer, b, {}) == evaluated(plain, b));
    std::vector<double> row(rows(b)), token(b.token.size());
    (void)scorer.forward(b, row);
    CHECK(gap(row, evaluated(plain, b)) > 1e-3);
    // A row's last token scores as the row: the same units are dropped all along it.
    (void)twin.forward_tokens(b, ragged_view<double>::packed(token.data(), b.offset));
    for (std::size_t i = 0; i < rows(b); ++i)
        if (b.length[i] > 0) CHECK(token[b.offset[i + 1] - 1] == row[i]);
}

TEST_CASE("lstm_scorer: several outputs are several heads on one body", "[lstm][abilities]") {
    for (const pooling pool : {pooling::last, pooling::mean}) {
        dice d(8);
        auto wide = scorer_of<double>({.outputs = 3, .pool = pool});
        CHECK(wide.width() == 3);
        CHECK(score_width(wide) == 3);
        REQUIRE(wide.parameters()[4].name == "head");
        CHECK(wide.parameters()[4].shape == std::vector<std::size_t>{6, 3});
        CHECK(wide.parameters()[5].shape == std::vector<std::size_t>{3});
        const auto b = random_batch<double>(d, 15, true);
        const auto c = numbers<double>(d, 3 * rows(b));
        std::vector<double> score(3 * rows(b));
        wide.backward(wide.forward(b, score), c);
        CHECK(score == evaluated(wide, b));
        std::vector<double> body(gradients(wide).size() - 3 * 7);
        for (std::size_t k = 0; k < 3; ++k) {
            auto narrow = scorer_of<double>({.pool = pool});
            CHECK(narrow.width() == 1);
            CHECK(narrow.parameters()[4].shape == std::vector<std::size_t>{6, 1});
            for (std::size_t n = 0; n < 4; ++n)
                std::ranges::copy(wide.parameters()[n].values, narrow.parameters()[n].values.begin());
            for (std::size_t j = 0; j < 6; ++j)
                narrow.parameters()[4].values[j] = wide.parameters()[4].values[3 * j + k];
            narrow.parameters()[5].values[0] = wide.parameters()[5].values[k];
            std::vector<double> one(rows(b)), d_one(rows(b));
            for (std::size_t i = 0; i < rows(b); ++i) d_one[i] = c[3 * i + k];
            narrow.backward(narrow.forward(b, one), d_one);
            for (std::size_t i = 0; i < rows(b); ++i) CHECK(one[i] == score[3 * i + k]);
            const auto g = gradients(narrow);
            for (std::size_t i = 0; i < body.size(); ++i) body[i] += g[i];
            for (std::size_t j = 0; j < 6; ++j)
                CHECK(narrow.parameters()[4].gradients[j] == wide.parameters()[4].gradients[3 * j + k]);
            CHECK(narrow.parameters()[5].gradients[0] == wide.parameters()[5].gradients[k]);
        }
        auto expected = gradients(wide);
        expected.resize(body.size());
        CHECK(gap(body, expected) <= 1e-13);
    }
}

TEST_CASE("lstm_scorer: abilities repeat to the bit", "[lstm][abilities]") {
    dice d(9);
    auto first = scorer_of<float>({.hidden = 20, .outputs = 2, .pool = pooling::mean});
    auto second = first.clone();
    const auto b = random_batch<float>(d, 200, true);
    const auto c = numbers<float>(d, 2 * rows(b));
    const auto p = first.noise(b, 0.3, {1, 0});
    std::vector<float> score(2 * rows(b)), again(2 * rows(b));
    first.backward(first.forward(b, p, score), c);
    (void)second.input_gradient(b, {}, c);  // memory that was used before
    (void)evaluated(second, b);
    second.backward(second.forward(b, p, again), c);
    CHECK(score == again);
    CHECK(gradients(first) == gradients(second));
    CHECK(flat<float>(first.input_gradient(b, p, c)) == flat<float>(second.input_gradient(b, p, c)));
}

TEST_CASE("lstm_scorer: abilities on degenerate batches", "[lstm][abilities]") {
    auto scorer = scorer_of<double>({.pool = pooling::mean});
    const std::vector<double> none;
    std::vector<double> nothing;
    {
        const token_batch<double> b;
        const auto p = scorer.noise(b, 1, {1, 0});
        scorer.backward(scorer.forward(b, p, nothing), none);
        CHECK(scorer.input_gradient(b, p, none).size() == 0);
        CHECK(scorer.towards(b, b, none).size() == 0);
        scorer.row_norms(p, nothing);
        scorer.evaluate_tokens(b, {});
        scorer.backward_tokens(scorer.forward_tokens(b, {}), {});
        CHECK(largest(gradients(scorer)) == 0);
    }
    token_batch<double> b;  // rows without inputs: only the start token, which stays where it is
    for (int i = 0; i < 2; ++i) b.add(std::vector<std::int32_t>{}, row_end::truncated);
    const auto p = scorer.noise(b, 1, {1, 0});
    CHECK(moved(scorer, b, p) == evaluated(scorer, b));
    const auto g = scorer.input_gradient(b, p, std::vector<double>(2, 1.0));
    CHECK(g.size() == 2);
    CHECK(g.row(0).empty());
    const auto view = ragged_view<double>::packed(nothing.data(), b.offset);
    scorer.backward_tokens(scorer.forward_tokens(b, view), view);
    CHECK(largest(gradients(scorer)) == 0);
    std::vector<double> score(2);
    scorer.backward(scorer.forward(b, p, score), std::vector<double>(2, 1.0));
    CHECK(scorer.parameters()[5].gradients[0] == 2);
}

TEST_CASE("lstm_scorer: what does not fit is refused", "[lstm][abilities]") {
    dice d(10);
    auto scorer = scorer_of<double>({});
    auto wide = scorer_of<double>({.outputs = 2});
    const auto b = random_batch<double>(d, 4, false), other = random_batch<double>(d, 4, false, false, 9);
    const auto three = random_batch<double>(d, 3, false);
    const auto p = scorer.noise(b, 1, {1, 0});
    std::vector<double> score(4), token(b.token.size());
    const auto view = ragged_view<double>::packed(token.data(), b.offset);
    REQUIRE(b.length != other.length);
    CHECK_THROWS_AS(scorer.forward(other, p, score), shape_error);
    CHECK_THROWS_AS(scorer.forward(three, p, std::span(score).first(3)), shape_error);
    CHECK_THROWS_AS(scorer.forward(b, p, std::span(score).first(3)), shape_error);
    CHECK_THROWS_AS(wide.forward(b, p, score), shape_error);
    CHECK_THROWS_AS(scorer.input_gradient(b, p, std::vector<double>(3)), shape_error);
    CHECK_THROWS_AS(scorer.row_norms(p, std::span(score).first(3)), shape_error);
    auto q = p;
    CHECK_THROWS_AS(scorer.scale(q, std::vector<double>(3)), shape_error);
    CHECK_THROWS_AS(scorer.add(q, scorer.noise(other, 1, {1, 0})), shape_error);
    CHECK_THROWS_AS(scorer.noise(b, -1, {1, 0}), option_error);
    CHECK_THROWS_AS(scorer.noise(b, std::nan(""), {1, 0}), option_error);
    CHECK_THROWS_AS(scorer.towards(b, three, score), shape_error);
    CHECK_THROWS_AS(scorer.towards(b, b, std::vector<double>(3)), shape_error);
    auto few_prompts = b;
    few_prompts.prompt.add(std::vector<std::int32_t>{1});
    CHECK_THROWS_AS(scorer.noise(few_prompts, 1, {1, 0}), shape_error);
    CHECK_THROWS_AS(scorer.forward(few_prompts, p, score), shape_error);
    auto strange = b;
    strange.token[0] = vocabulary;
    CHECK_THROWS_AS(scorer.towards(strange, b, score), numeric_error);
    CHECK_THROWS_AS(scorer.forward(strange, p, score), numeric_error);
    CHECK_THROWS_AS(scorer.evaluate_tokens(strange, view), numeric_error);
    CHECK_THROWS_AS(scorer.evaluate_tokens(other, view), shape_error);
    CHECK_THROWS_AS(wide.evaluate_tokens(b, view), option_error);
    CHECK_THROWS_AS(
        scorer.backward_tokens(scorer.forward_tokens(b, view), ragged_view<double>::packed(token.data(), three.offset)),
        shape_error);
    CHECK_THROWS_AS(scorer.backward_tokens({}, view), shape_error);
    std::vector<double> eight(8);
    CHECK_THROWS_AS(wide.backward(wide.forward(b, eight), score), shape_error);
    CHECK_THROWS_AS(lstm_scorer<double>({.vocabulary = 3, .outputs = 0}), option_error);
    CHECK(largest(gradients(scorer)) == 0);
}
