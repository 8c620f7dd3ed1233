#include "models/enumeration.hpp"
#include "rlgaf/backend/check.hpp"
#include "rlgaf/models/ngram.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::ids;

namespace {

template <class T>
token_batch<T> demonstrations_of(std::initializer_list<std::vector<std::int32_t>> texts) {
    token_batch<T> b;
    for (const auto& t : texts) b.add(t, row_end::terminated);
    return b;
}
/// A reward without structure: any table of numbers will do.
double reward_of(std::span<const std::int32_t> row) {
    double r = 0.3, place = 1;
    for (const std::int32_t t : row) r += std::sin(place++ * (t + 1.0));
    return r;
}
template <class T>
ragged_buffer<T> evaluate_log_prob(ngram_policy<T>& p, const token_batch<T>& b) {
    ragged_buffer<T> lp;
    lp.assign(lengths(b));
    p.evaluate(b, {.log_prob = lp.view()});
    return lp;
}

static_assert(check_policy<ngram_policy<float>>() && check_policy<ngram_policy<double, token_prompts>>());
static_assert(check_scorer<ngram_scorer<float>, token_batch<float>>());
static_assert(flat_parameters<ngram_policy<float>> && clonable<ngram_policy<float>>);
static_assert(flat_parameters<ngram_scorer<double>> && clonable<ngram_scorer<double>>);

}  // namespace

TEMPLATE_TEST_CASE("ngram: an untrained policy is uniform", "[models]", float, double) {
    ngram_policy<TestType> p({.shape = {.vocabulary = 5, .order = 3}, .max_length = 7});
    const auto b = p.rollout({}, ids(200), {}, {.seed = 3});
    REQUIRE(rows(b) == 200);
    ragged_buffer<TestType> lp, h, v;
    for (auto* x : {&lp, &h, &v}) x->assign(lengths(b), TestType{9});
    p.evaluate(b, {lp.view(), h.view(), v.view()});
    for (const TestType x : lp.flat()) REQUIRE(x == Approx(-std::log(5.0)));
    for (const TestType x : h.flat()) REQUIRE(x == Approx(std::log(5.0)));
    for (const TestType x : v.flat()) REQUIRE(x == 0);
    std::size_t cut = 0;
    for (std::size_t i = 0; i < rows(b); ++i) {
        const auto row = b.row(i);
        REQUIRE((row.size() >= 1 && row.size() <= 7));
        for (std::size_t t = 0; t + 1 < row.size(); ++t) REQUIRE(row[t] != 0);
        REQUIRE((b.end[i] == row_end::terminated) == (row.back() == 0));
        cut += b.end[i] == row_end::truncated;
        if (b.end[i] == row_end::truncated) REQUIRE(row.size() == 7);
    }
    REQUIRE((cut > 10 && cut < 90));  // (4/5)^7 of 200 is 42
}

TEST_CASE("ngram: contexts are the last n - 1 tokens", "[models]") {
    const ngram_contexts one({.vocabulary = 3, .order = 1}), three({.vocabulary = 3, .order = 3});
    REQUIRE(one.count() == 1);
    REQUIRE(one.after(one.start(), 2) == one.start());
    REQUIRE(three.count() == 16);
    const auto after = [&](std::vector<std::int32_t> t) { return three.after(three.start(), t, "test"); };
    REQUIRE(after({0, 1, 2}) == after({2, 1, 2}));
    REQUIRE(after({1, 2}) == after({0, 1, 2}));
    REQUIRE(after({2}) != after({0, 2}));
    REQUIRE(after({}) != after({2, 2}));
    REQUIRE_THROWS_AS(ngram_contexts({.vocabulary = 1}), option_error);
    REQUIRE_THROWS_AS(ngram_contexts({.vocabulary = 2, .order = 0}), option_error);
    REQUIRE_THROWS_AS(ngram_contexts({.vocabulary = 100, .order = 9}), option_error);
}

TEST_CASE("ngram: the temperature of a row divides its logits", "[models]") {
    ngram_policy<double> p({.shape = {.vocabulary = 2, .order = 1}, .max_length = 1});
    p.logits()(0, 1) = std::log(9.0);
    token_batch<double> b;
    const std::int32_t one[] = {1};
    b.add(one, row_end::truncated, {}, 1);
    b.add(one, row_end::truncated, {}, 2);
    const auto lp = evaluate_log_prob(p, b);
    REQUIRE(lp.flat()[0] == Approx(std::log(0.9)));
    REQUIRE(lp.flat()[1] == Approx(std::log(0.75)));
    REQUIRE_THROWS_AS(p.rollout({}, ids(1), {.temperature = 0}, {}), option_error);
}

TEST_CASE("ngram: top-k and top-p sample from fewer tokens and say with which probability", "[models]") {
    ngram_policy<double> p({.shape = {.vocabulary = 4, .order = 1}, .max_length = 1});
    const double probability[] = {0.1, 0.4, 0.2, 0.3};
    for (std::size_t v = 0; v < 4; ++v) p.logits()(0, v) = std::log(probability[v]);
    const auto count = [&](const rollout_options& o, std::vector<double> expected) {
        const auto b = p.rollout({}, ids(20000), o, {.seed = 5});
        std::vector<double> n(4, 0.0);
        for (std::size_t i = 0; i < rows(b); ++i) {
            const auto v = static_cast<std::size_t>(b.row(i)[0]);
            n[v] += 1.0 / 20000;
            REQUIRE(b.log_prob[i] == Approx(std::log(expected[v])));
        }
        for (std::size_t v = 0; v < 4; ++v) REQUIRE(std::abs(n[v] - expected[v]) < 0.02);
    };
    count({}, {0.1, 0.4, 0.2, 0.3});
    count({.top_k = 2}, {0, 4.0 / 7, 0, 3.0 / 7});
    count({.top_p = 0.65}, {0, 4.0 / 7, 0, 3.0 / 7});
    count({.top_p = 0.75}, {0, 4.0 / 9, 2.0 / 9, 3.0 / 9});
    count({.top_k = 1}, {0, 1, 0, 0});
    count({.top_k = 3, .top_p = 0.4}, {0, 1, 0, 0});  // 4/9 of the three is enough
    count({.top_k = 99, .top_p = 1}, {0.1, 0.4, 0.2, 0.3});
}

TEST_CASE("ngram: prompts are history", "[models]") {
    ngram_policy<double, token_prompts> p({.shape = {.vocabulary = 3, .order = 2}, .max_length = 1});
    for (std::size_t v = 0; v < 3; ++v) p.logits()(v, v) = 50;  // repeats what it saw
    token_prompts asked;
    for (const std::int32_t t : {2, 0, 1}) asked.add(std::span(&t, 1));
    const auto b = p.rollout(asked, ids(3), {}, {});
    REQUIRE((b.row(0)[0] == 2 && b.row(1)[0] == 0 && b.row(2)[0] == 1));
    const std::size_t pick[] = {2, 0};
    const auto part = select(b, pick);
    ragged_buffer<double> lp;
    lp.assign(lengths(part));
    p.evaluate(part, {.log_prob = lp.view()});
    for (const double x : lp.flat()) REQUIRE(std::abs(x) < 1e-12);
    REQUIRE_THROWS_AS(p.rollout(asked, ids(2), {}, {}), shape_error);
}

TEST_CASE("ngram: masked tokens are history and nothing else", "[models]") {
    ngram_policy<double> p({.shape = {.vocabulary = 3, .order = 2}, .initial_spread = 1});
    token_batch<double> b;
    const std::int32_t row[] = {1, 2, 0};
    const std::uint8_t mask[] = {1, 0, 1};
    b.add(row, row_end::terminated, {}, 1, mask);
    ragged_buffer<double> lp;
    lp.assign(lengths(b), 7);
    p.evaluate(b, {.log_prob = lp.view()});
    REQUIRE(lp.flat()[1] == 7);
    REQUIRE(lp.flat()[2] == Approx(rlgaf_test::exact_log_prob(p, p.contexts().after(0, 2), 1)[0]));
    ragged_buffer<double> c;
    c.assign(lengths(b), std::nan(""));
    c.flat()[0] = c.flat()[2] = 1;
    p.backward(p.forward(b, {}), {.d_log_prob = std::as_const(c).view()});
    for (const auto& block : p.parameters())
        REQUIRE(first_nonfinite(std::span<const double>(block.gradients)) == block.gradients.size());
}

TEST_CASE("ngram: tokens and arrays that do not fit are refused", "[models]") {
    ngram_policy<double> p({.shape = {.vocabulary = 3}});
    ngram_scorer<double> s({.shape = {.vocabulary = 3}});
    ragged_buffer<double> lp;
    for (const std::int32_t bad : {-1, 3}) {
        const auto b = demonstrations_of<double>({{1, bad}});
        lp.assign(lengths(b));
        REQUIRE_THROWS_AS(p.evaluate(b, {.log_prob = lp.view()}), numeric_error);
        double score[1];
        REQUIRE_THROWS_AS(s.evaluate(b, score), numeric_error);
    }
    const auto b = demonstrations_of<double>({{1, 2}, {0}});
    lp.assign(std::vector<std::uint32_t>{2, 2});
    REQUIRE_THROWS_AS(p.evaluate(b, {.log_prob = lp.view()}), shape_error);
    REQUIRE_THROWS_AS(p.backward(p.forward(b, {}), {.d_log_prob = std::as_const(lp).view()}), shape_error);
    std::vector<double> score(3);
    REQUIRE_THROWS_AS(s.evaluate(b, score), shape_error);
    REQUIRE_THROWS_AS(ngram_policy<double>({.end_token = 2}), option_error);
    REQUIRE_THROWS_AS(ngram_policy<double>({.max_length = 0}), option_error);
    REQUIRE_THROWS_AS(ngram_policy<double>({.initial_spread = -1}), option_error);
    REQUIRE_THROWS_AS(ngram_policy<double>({.optimizer = sgd{.momentum = 1}}), option_error);
}

TEST_CASE("ngram: a clone has parameters of its own, and either optimiser descends", "[models]") {
    for (const optimizer_choice& how : {optimizer_choice{sgd{}}, optimizer_choice{adamw{}}}) {
        ngram_policy<double> p({.shape = {.vocabulary = 3}, .optimizer = how});
        const auto b = demonstrations_of<double>({{1, 2, 0}});
        const ngram_policy<double> before = p.clone();
        ragged_buffer<double> c;
        c.assign(lengths(b), -1);
        double last = -1e9;
        for (int k = 0; k < 50; ++k) {
            p.backward(p.forward(b, {}), {.d_log_prob = std::as_const(c).view()});
            REQUIRE(p.step({.learning_rate = 0.1}).applied);
            const auto lp = evaluate_log_prob(p, b);
            const double total = sum(lp.flat());
            REQUIRE(total > last);
            last = total;
        }
        REQUIRE(last > -1.0);
        for (std::size_t i = 0; i < before.logits().size(); ++i) REQUIRE(before.logits().data()[i] == 0);
    }
}

TEST_CASE("ngram: a clone of a trained model is the model loaded anew", "[models]") {
    const auto b = demonstrations_of<double>({{1, 2, 0}, {2, 2, 1}});
    const auto move_policy = [&](ngram_policy<double>& p, double factor, bool step = true) {
        ragged_buffer<double> c;
        c.assign(lengths(b), factor);
        c.view().row(1)[0] = 1;
        p.backward(p.forward(b, {}), {.d_log_prob = std::as_const(c).view(), .d_value = std::as_const(c).view()});
        if (step) REQUIRE(p.step({.learning_rate = 0.1}).applied);
    };
    const auto move_scorer = [&](ngram_scorer<double>& s, double factor, bool step = true) {
        std::vector<double> score(rows(b));
        s.backward(s.forward(b, score), std::vector<double>{factor, 1});
        if (step) REQUIRE(s.step({.learning_rate = 0.1}).applied);
    };
    const auto values = [](auto& model) {
        std::vector<double> x;
        for (const auto& block : model.parameters()) x.insert(x.end(), block.values.begin(), block.values.end());
        return x;
    };
    const auto check = [&](auto trained, auto loaded, const auto& move) {
        for (const double factor : {-1.0, -3.0, -2.0}) move(trained, factor);
        move(trained, 1, false);
        auto clone = trained.clone();
        for (const auto& block : clone.parameters())
            for (const double g : block.gradients) REQUIRE(g == 0);
        for (std::size_t k = 0; k < loaded.parameters().size(); ++k)
            std::ranges::copy(trained.parameters()[k].values, loaded.parameters()[k].values.begin());
        auto copy = trained;
        for (const double factor : {2.0, -1.0}) {
            move(clone, factor);
            move(loaded, factor);
            REQUIRE(values(clone) == values(loaded));
            move(copy, factor);
            move(trained, factor);
            REQUIRE(values(copy) == values(trained));
            REQUIRE(values(copy) != values(clone));
        }
    };
    for (const optimizer_choice& how : {optimizer_choice{sgd{.momentum = 0.9}}, optimizer_choice{adamw{}}}) {
        const ngram_policy<double> p({.shape = {.vocabulary = 3}, .optimizer = how});
        const ngram_scorer<double> s({.shape = {.vocabulary = 3}, .optimizer = how});
        check(p, p, move_policy);
        check(s, s, move_scorer);
    }
}

TEMPLATE_TEST_CASE("ngram scorer: sum and mean of table entries", "[models]", float, double) {
    ngram_scorer<TestType> s({.shape = {.vocabulary = 3, .order = 2}}),
        m({.shape = {.vocabulary = 3, .order = 2}, .mean = true});
    for (auto* x : {&s, &m}) {
        x->table()(x->contexts().start(), 1) = 1;  // begins with 1
        x->table()(1, 2) = 10;                     // 2 after 1
        x->table()(2, 0) = TestType(0.5);
    }
    auto b = demonstrations_of<TestType>({{1, 2, 0}, {1, 2, 1, 2}, {2, 0}, {}});
    std::vector<TestType> score(4);
    s.evaluate(b, score);
    REQUIRE(score == std::vector<TestType>{TestType(11.5), 21, TestType(0.5), 0});
    m.evaluate(b, score);
    REQUIRE(score[0] == Approx(11.5 / 3));
    REQUIRE(score[1] == Approx(21.0 / 4));
    REQUIRE(score[3] == 0);
    b.mask = {1, 0, 1, 1, 1, 0, 0, 1, 1};
    m.evaluate(b, score);
    REQUIRE(score[0] == Approx(0.75));
    REQUIRE(score[1] == Approx(5.5));
}

TEST_CASE("enumeration: probabilities sum to 1 and the policy agrees", "[models]") {
    for (const double temperature : {1.0, 0.6}) {
        ngram_policy<double> p({.shape = {.vocabulary = 3, .order = 2}, .max_length = 3, .initial_spread = 1});
        const auto all = rlgaf_test::enumerate(p, temperature);
        REQUIRE(rows(all.rows) == 1 + 2 + 4 * 3);
        double total = 0;
        const auto lp = evaluate_log_prob(p, all.rows);
        for (std::size_t i = 0; i < all.probability.size(); ++i) {
            total += all.probability[i];
            REQUIRE(masked_row_sum(lp.view(), mask_view{}, i) == Approx(std::log(all.probability[i])));
        }
        REQUIRE(total == Approx(1).epsilon(1e-12));
    }
}

TEST_CASE("enumeration: the exact gradient is that of the expected reward", "[models]") {
    for (const double temperature : {1.0, 0.6}) {
        ngram_policy<double> p({.shape = {.vocabulary = 3, .order = 3}, .max_length = 3, .initial_spread = 1});
        const std::vector<double> exact = rlgaf_test::exact_gradient(p, reward_of, temperature);
        for (std::size_t i = 0; i < exact.size(); ++i) {
            double& x = p.logits().data()[i];
            const double kept = x, h = 1e-4;
            x = kept + h;
            const double above = rlgaf_test::expected_reward(p, reward_of, temperature);
            x = kept - h;
            const double below = rlgaf_test::expected_reward(p, reward_of, temperature);
            x = kept;
            REQUIRE(std::abs((above - below) / (2 * h) - exact[i]) < 1e-8);
        }
        // The same through the waist: backward of p(row) reward(row) on every token.
        const auto all = rlgaf_test::enumerate(p, temperature);
        ragged_buffer<double> c;
        c.assign(lengths(all.rows));
        for (std::size_t i = 0; i < all.probability.size(); ++i)
            for (double& d : c.view().row(i)) d = all.probability[i] * reward_of(all.rows.row(i));
        p.backward(p.forward(all.rows, {}), {.d_log_prob = std::as_const(c).view()});
        for (std::size_t i = 0; i < exact.size(); ++i)
            REQUIRE(std::abs(p.parameters()[0].gradients[i] - exact[i]) < 1e-12);
    }
}

TEST_CASE("ngram: REINFORCE by hand climbs the expected reward", "[models]") {
    ngram_policy<double> p({.shape = {.vocabulary = 3, .order = 2}, .max_length = 3});
    const double before = rlgaf_test::expected_reward(p, reward_of);
    ragged_buffer<double> c;
    for (std::uint32_t round = 0; round < 60; ++round) {
        const auto b = p.rollout({}, ids(64), {}, {.seed = 1, .step = round});
        c.assign(lengths(b));
        double mean = 0;
        for (std::size_t i = 0; i < rows(b); ++i) mean += reward_of(b.row(i)) / 64;
        for (std::size_t i = 0; i < rows(b); ++i)
            for (double& d : c.view().row(i)) d = -(reward_of(b.row(i)) - mean) / 64;
        p.backward(p.forward(b, {}), {.d_log_prob = std::as_const(c).view()});
        p.step({.learning_rate = 1, .max_norm = 0});
    }
    double best = -1e9;
    for (const auto all = rlgaf_test::enumerate(p); const double x : all.probability) best = std::max(best, x);
    REQUIRE(rlgaf_test::expected_reward(p, reward_of) > before + 1);
    REQUIRE(best > 0.8);
}
