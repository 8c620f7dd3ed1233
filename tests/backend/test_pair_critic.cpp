#include "rlgaf/backend/pair_critic.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::pair_critic;
using batch = rlgaf::token_batch<double>;

namespace {

/// Number k of a row is the sum over its tokens t of weight[k][t] (1 + 0.1 position), plus what the prompt adds: it sees
/// order, and its first number is for "the first text is better".
struct linear_scorer {
    using scalar = double;
    static constexpr std::size_t tokens = 5;
    struct tape {
        batch b;
    };
    std::size_t numbers = 3;
    std::vector<double> weight = std::vector<double>(3 * tokens), gradient = std::vector<double>(3 * tokens);
    std::vector<std::vector<std::int32_t>> seen{};
    std::vector<rlgaf::row_end> end{};
    double of_prompt = 0;
    int steps = 0;

    std::size_t width() const { return numbers; }
    template <class F>
    static void each(const batch& b, F&& f) {
        b.for_each(0, [&](std::size_t i, std::size_t t, std::size_t, std::size_t token) {
            for (std::size_t k = 0; k < 3; ++k) f(3 * i + k, k * tokens + token, 1 + 0.1 * static_cast<double>(t));
        });
    }
    void evaluate(const batch& b, std::span<double> score) {
        seen.clear();
        for (std::size_t i = 0; i < rows(b); ++i) {
            seen.emplace_back(b.row(i).begin(), b.row(i).end());
            for (std::size_t k = 0; k < 3; ++k)
                score[3 * i + k] = rows(b.prompt) > 0 ? of_prompt * static_cast<double>(b.prompt.row(i)[0]) : 0;
        }
        end = b.end;
        each(b, [&](std::size_t out, std::size_t w, double x) { score[out] += x * weight[w]; });
    }
    tape forward(const batch& b, std::span<double> score) {
        evaluate(b, score);
        return {b};
    }
    void backward(tape&& t, std::span<const double> d) {
        each(t.b, [&](std::size_t out, std::size_t w, double x) { gradient[w] += x * d[out]; });
    }
    rlgaf::step_report step(const rlgaf::step_options&) {
        ++steps;
        return {.grad_norm = 1, .applied = true};
    }
    void discard() { gradient.assign(gradient.size(), 0); }
    template <class Archive>
    void visit(Archive& a) {
        a("weight", weight);
    }
};
/// One archive for both ways, of the two kinds of entries that there are here.
struct small_archive {
    bool loads = false;
    std::uint64_t steps = 0;
    std::vector<double> weight{};
    void operator()(const char*, std::uint64_t& v) { (loads ? v : steps) = loads ? steps : v; }
    void operator()(const char*, std::vector<double>& v) { (loads ? v : weight) = loads ? weight : v; }
};
static_assert(rlgaf::scores_pairs<pair_critic<linear_scorer>, batch>);

constexpr std::int32_t separator = 4;

/// Rows of tokens 0 to 3, first letters apart so that a joined row shows its order.
batch random_rows(dice& d, std::size_t n, std::int32_t first) {
    batch b;
    for (std::size_t i = 0; i < n; ++i) {
        std::vector<std::int32_t> row = {first};
        for (std::size_t t = d.below(6); t > 0; --t) row.push_back(static_cast<std::int32_t>(d.below(4)));
        b.add(row, first == 0 ? rlgaf::row_end::terminated : rlgaf::row_end::truncated);
    }
    return b;
}
linear_scorer random_scorer(dice& d) {
    linear_scorer s;
    for (double& w : s.weight) w = d.normal();
    return s;
}
std::vector<double> evaluate(pair_critic<linear_scorer>& critic, const batch& a, const batch& b) {
    std::vector<double> score(3 * rows(a), not_a_number);
    critic.evaluate_pairs(a, b, score);
    return score;
}

}  // namespace

TEST_CASE("pair_critic shows both rows in one, in either order, and undoes the order in what it gives") {
    dice d(1);
    linear_scorer scorer = random_scorer(d);
    pair_critic critic{scorer, {.separator = separator, .seed = 3}};
    const batch a = random_rows(d, 200, 0), b = random_rows(d, 200, 1);
    const std::vector<double> score = evaluate(critic, a, b);
    const auto seen = scorer.seen;
    const auto ends_seen = scorer.end;
    std::size_t straight = 0;
    for (std::size_t i = 0; i < 200; ++i) {
        const bool a_first = seen[i][0] == 0;
        straight += a_first;
        const batch &first = a_first ? a : b, &second = a_first ? b : a;
        std::vector<std::int32_t> joined(first.row(i).begin(), first.row(i).end());
        joined.push_back(separator);
        joined.insert(joined.end(), second.row(i).begin(), second.row(i).end());
        REQUIRE(seen[i] == joined);
        REQUIRE(ends_seen[i] == second.end[i]);
        batch one;
        one.add(joined, rlgaf::row_end::terminated);
        double raw[3];
        scorer.evaluate(one, raw);
        REQUIRE(score[3 * i] == raw[a_first ? 0 : 1]);
        REQUIRE(score[3 * i + 1] == raw[a_first ? 1 : 0]);
        REQUIRE(score[3 * i + 2] == raw[2]);
    }
    REQUIRE(straight > 70);  // a fair coin: 100 +- 7
    REQUIRE(straight < 130);
}

TEST_CASE("pair_critic: the order is that of the pair until the next step, however batches are cut or sorted") {
    dice d(2);
    linear_scorer scorer = random_scorer(d);
    pair_critic critic{scorer, {.separator = separator, .seed = 5}};
    const batch a = random_rows(d, 60, 0), b = random_rows(d, 60, 1);
    const std::vector<double> score = evaluate(critic, a, b);
    REQUIRE(same_bits(evaluate(critic, a, b), score));
    std::vector<double> again(score.size());
    (void)critic.forward_pairs(a, b, again);
    REQUIRE(same_bits(again, score));
    critic.discard();
    const std::vector<std::size_t> some = {17, 3, 3, 59};
    const std::vector<double> part = evaluate(critic, select(a, some), select(b, some));
    for (std::size_t i = 0; i < some.size(); ++i)
        for (std::size_t k = 0; k < 3; ++k) REQUIRE(part[3 * i + k] == score[3 * some[i] + k]);

    evaluate(critic, a, b);
    const auto before = scorer.seen;
    REQUIRE(critic.step({}).applied);
    REQUIRE(scorer.steps == 1);
    evaluate(critic, a, b);
    std::size_t turned = 0;
    for (std::size_t i = 0; i < 60; ++i) turned += before[i][0] != scorer.seen[i][0];
    REQUIRE(turned > 15);
    REQUIRE(turned < 45);
    pair_critic other{scorer, {.separator = separator, .seed = 6}};
    evaluate(other, a, b);
    turned = 0;
    for (std::size_t i = 0; i < 60; ++i) turned += before[i][0] != scorer.seen[i][0];
    REQUIRE(turned > 15);

    // the scorer and the count of steps are all it remembers
    small_archive saved;
    critic.visit(saved);
    REQUIRE(saved.steps == 1);
    REQUIRE(saved.weight == scorer.weight);
    linear_scorer fresh = random_scorer(d);
    pair_critic restored{fresh, {.separator = separator, .seed = 5}};
    REQUIRE(!same_bits(evaluate(restored, a, b), evaluate(critic, a, b)));
    saved.loads = true;
    restored.visit(saved);
    REQUIRE(same_bits(evaluate(restored, a, b), evaluate(critic, a, b)));
}

TEST_CASE("pair_critic: gradients by finite differences, with several tapes alive") {
    dice d(4);
    for (int round = 0; round < 30; ++round) {
        linear_scorer scorer = random_scorer(d);
        pair_critic critic{scorer, {.separator = separator, .seed = static_cast<std::uint64_t>(round)}};
        const batch a = random_rows(d, 5, 0), b = random_rows(d, 5, 1), c = random_rows(d, 3, 2),
                    e = random_rows(d, 3, 3);
        std::vector<double> d_first(15), d_second(9), score(15);
        for (double& v : d_first) v = d.normal();
        for (double& v : d_second) v = d.normal();
        critic.discard();
        auto first = critic.forward_pairs(a, b, score);
        auto second = critic.forward_pairs(c, e, std::span(score).first(9));
        critic.backward_pairs(std::move(first), d_first);
        critic.backward_pairs(std::move(second), d_second);
        const std::vector<double> gradient = scorer.gradient;
        const auto value = [&] {
            double sum = 0;
            const std::vector<double> x = evaluate(critic, a, b), y = evaluate(critic, c, e);
            for (std::size_t i = 0; i < 15; ++i) sum += d_first[i] * x[i];
            for (std::size_t i = 0; i < 9; ++i) sum += d_second[i] * y[i];
            return sum;
        };
        for (std::size_t k = 0; k < gradient.size(); ++k)
            REQUIRE(gap(slope(value, scorer.weight[k]), gradient[k]) < 1e-8 * (1 + std::abs(gradient[k])));
    }
}

TEST_CASE("pair_critic shows the prompt of a, and does without one") {
    dice d(6);
    linear_scorer scorer;
    scorer.of_prompt = 1;
    pair_critic critic{scorer, {.separator = separator}};
    batch a = random_rows(d, 2, 0), b = random_rows(d, 2, 1);
    REQUIRE(gap(evaluate(critic, a, b), std::vector<double>(6)) == 0);
    const std::vector<std::int32_t> seven = {7}, nine = {9};
    a.prompt.add(seven), a.prompt.add(nine);
    b.prompt = a.prompt;
    REQUIRE(gap(evaluate(critic, a, b), {7, 7, 7, 9, 9, 9}) == 0);
    const batch none;
    REQUIRE(evaluate(critic, none, none).empty());
}

TEST_CASE("pair_critic names what does not fit") {
    dice d(7);
    linear_scorer scorer, narrow;
    narrow.numbers = 1;
    REQUIRE(message_of<rlgaf::option_error>([&] { pair_critic{narrow}; }) ==
            "rlgaf::pair_critic: .scorer.width(): expected 3 numbers a row, got 1");
    pair_critic critic{scorer};
    const batch two = random_rows(d, 2, 0), three = random_rows(d, 3, 1);
    std::vector<double> six(6), nine(9);
    const auto message = [&](const batch& a, const batch& b, std::span<double> score) {
        return message_of<rlgaf::shape_error>([&] { critic.evaluate_pairs(a, b, score); });
    };
    REQUIRE(message(two, three, six) == "rlgaf::pair_critic: b: expected 2 elements, got 3");
    REQUIRE(message(three, three, six) == "rlgaf::pair_critic: score: expected 9 elements, got 6");
    auto tape = critic.forward_pairs(three, three, nine);
    REQUIRE(message_of<rlgaf::shape_error>([&] { critic.backward_pairs(std::move(tape), six); }) ==
            "rlgaf::pair_critic::backward_pairs: d_score: expected 9 elements, got 6");
}
