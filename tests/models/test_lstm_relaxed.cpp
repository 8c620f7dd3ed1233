#include <algorithm>
#include <cmath>
#include <vector>

#include "rlgaf/core/reduce.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/models/lstm.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::dice;
using rlgaf_test::gap;
using rlgaf_test::message_of;
using rlgaf_test::same_bits;
using rlgaf_test::slope;

namespace {

static_assert(relaxes<lstm_policy<float>, lstm_scorer<float>>);
static_assert(relaxes<lstm_policy<double>, lstm_scorer<double>>);
static_assert(!relaxes<lstm_policy<float>, lstm_scorer<double>>);

constexpr std::size_t V = 5, E = 3, H = 6;
constexpr rng_key key{7, 3};

lstm_policy<double> small_policy() {
    lstm_policy<double> p({.vocabulary = V, .embedding = E, .hidden = H, .end_token = 0, .max_length = 6, .seed = 2});
    for (const auto& block : p.parameters())
        for (double& x : block.values) x *= 1.5;
    return p;
}

token_prompts some_prompts(std::size_t rows) {
    token_prompts p;
    for (std::size_t i = 0; i < rows; ++i) {
        const std::vector<std::int32_t> tokens{3, 1, 2};
        p.add(std::span(tokens).first(i % 4));
    }
    return p;
}

std::vector<std::uint64_t> ids(std::size_t n, std::uint64_t first = 0) {
    std::vector<std::uint64_t> id(n);
    count_up(std::span(id), first);
    return id;
}

/// Shares of row i by the formula, the tokens drawn given. With `straight` (soft shares at the point where the gradient
/// is taken) values are those of straight-through, and their derivatives by parameters those of the soft shares.
std::vector<double> shares_of(lstm_policy<double>& p, const token_batch<double>& hard, std::size_t i, std::uint64_t id,
                              const relaxation_options& o, const double* straight = nullptr) {
    const auto block = p.parameters();
    const auto at = [&](std::size_t b, std::size_t row, std::size_t column, std::size_t columns) {
        return block[b].values[row * columns + column];
    };
    std::vector<double> input(E), h(H), c(H), out;
    const auto read = [&](std::size_t token) {
        for (std::size_t e = 0; e < E; ++e) input[e] = at(0, token, e, E);
    };
    const auto advance = [&] {
        const auto before = h;
        for (std::size_t u = 0; u < H; ++u) {
            double z[4];
            for (std::size_t q = 0; q < 4; ++q) {
                z[q] = block[3].values[q * H + u];
                for (std::size_t e = 0; e < E; ++e) z[q] += input[e] * at(1, e, q * H + u, 4 * H);
                for (std::size_t k = 0; k < H; ++k) z[q] += before[k] * at(2, k, q * H + u, 4 * H);
            }
            c[u] = sigmoid(z[1]) * c[u] + sigmoid(z[0]) * std::tanh(z[2]);
            h[u] = sigmoid(z[3]) * std::tanh(c[u]);
        }
    };
    read(V);
    advance();
    if (rows(hard.prompt) > 0)
        for (const std::int32_t token : hard.prompt.row(i)) read(static_cast<std::size_t>(token)), advance();
    const random_stream random(key, stream::gumbel, id);
    for (std::size_t t = 0; t < hard.length[i]; ++t) {
        const auto token = static_cast<std::size_t>(hard.row(i)[t]);
        std::vector<double> y(V);
        double sum = 0;
        for (std::size_t v = 0; v < V; ++v) {
            y[v] = block[5].values[v] + detail::gumbel(random, t * V + v);
            for (std::size_t k = 0; k < H; ++k) y[v] += at(4, v, k, H) * h[k];
        }
        for (const double x : y) {
            CHECK(x <= y[token]);
            sum += std::exp(o.inverse_temperature * (x - y[token]));
        }
        for (std::size_t v = 0; v < V; ++v) {
            double share = std::exp(o.inverse_temperature * (y[v] - y[token])) / sum;
            if (straight) share += (v == token) - straight[t * V + v];
            out.push_back(share);
        }
        read(token);
        if (o.soft_inputs)
            for (std::size_t e = 0; e < E; ++e) {
                input[e] = 0;
                for (std::size_t v = 0; v < V; ++v) input[e] += out[t * V + v] * at(0, v, e, E);
            }
        advance();
    }
    return out;
}

std::vector<double> gradients(std::span<const parameter_block<double>> blocks) {
    std::vector<double> g;
    for (const auto& b : blocks) g.insert(g.end(), b.gradients.begin(), b.gradients.end());
    return g;
}
template <class F>
std::vector<double> slopes(std::span<const parameter_block<double>> blocks, F&& f) {
    std::vector<double> g;
    for (const auto& b : blocks)
        for (double& x : b.values) g.push_back(slope(f, x));
    return g;
}

relaxed_rows<double> random_shares(dice& d, bool prompts) {
    relaxed_rows<double> x;
    x.vocabulary = V;
    for (const std::size_t length : {3u, 1u, 0u, 5u, 2u}) {
        std::vector<std::int32_t> tokens(length);
        for (auto& token : tokens) token = static_cast<std::int32_t>(d.below(V));
        x.hard.add(tokens, row_end::truncated);
        for (std::size_t t = 0; t < length; ++t) {
            double total = 0;
            for (std::size_t v = 0; v < V; ++v) total += x.share.emplace_back(d.uniform());
            for (std::size_t v = 0; v < V; ++v) x.share[x.share.size() - 1 - v] /= total;
        }
    }
    if (prompts) x.hard.prompt = some_prompts(5);
    return x;
}

}  // namespace

TEST_CASE("forward_relaxed, backward_relaxed: shares and gradients are those of the formula", "[lstm][relaxed]") {
    dice d(1);
    for (const bool straight : {false, true})
        for (const bool soft_inputs : {false, true})
            for (const bool prompts : {false, true}) {
                CAPTURE(straight, soft_inputs, prompts);
                lstm_policy<double> p = small_policy();
                const relaxation_options o{
                    .inverse_temperature = 1.3, .straight_through = straight, .soft_inputs = soft_inputs};
                const auto id = ids(9, 40);
                relaxed_rows<double> x;
                auto tape = p.forward_relaxed(prompts ? some_prompts(9) : token_prompts{}, id, o, key, x);
                const std::vector<double> soft = tape.soft;

                std::vector<double> expected;
                const auto all_shares = [&](bool moving) {
                    std::vector<double> all;
                    for (std::size_t i = 0; i < id.size(); ++i) {
                        const double* const at = soft.data() + x.hard.offset[i] * V;
                        const auto one = shares_of(p, x.hard, i, id[i], o, straight && moving ? at : nullptr);
                        all.insert(all.end(), one.begin(), one.end());
                    }
                    return all;
                };
                CHECK(gap(all_shares(true), x.share) < 1e-12);
                if (!straight) CHECK(same_bits(soft, x.share));

                for (std::size_t k = 0; k < x.share.size(); ++k) x.d_share.push_back(d.uniform(-1, 1));
                const auto loss = [&] {
                    const auto share = all_shares(true);
                    double sum = 0;
                    for (std::size_t k = 0; k < share.size(); ++k) sum += share[k] * x.d_share[k];
                    return sum;
                };
                p.backward_relaxed(std::move(tape), x);
                const auto got = gradients(p.parameters());
                CHECK(gap(slopes(p.parameters(), loss), got) < 1e-8);

                auto again = p.forward_relaxed(x.hard.prompt, id, o, key, x);  // a second gradient is added
                x.d_share.assign(x.share.size(), 0);
                p.backward_relaxed(std::move(again), x);
                CHECK(same_bits(got, gradients(p.parameters())));
            }
}

TEST_CASE("forward_relaxed: straight-through has the gradient of soft shares", "[lstm][relaxed]") {
    lstm_policy<double> soft = small_policy(), straight = small_policy();
    relaxed_rows<double> x, y;
    auto a = soft.forward_relaxed({}, ids(20), {.inverse_temperature = 0.8}, key, x);
    auto b = straight.forward_relaxed({}, ids(20), {.inverse_temperature = 0.8, .straight_through = true}, key, y);
    CHECK(x.hard.token == y.hard.token);
    CHECK(y.share == one_hot(y.hard, V).share);
    CHECK(gap(x.share, y.share) > 0.3);
    dice d(4);
    for (std::size_t k = 0; k < x.share.size(); ++k) x.d_share.push_back(d.uniform(-1, 1));
    y.d_share = x.d_share;
    soft.backward_relaxed(std::move(a), x);
    straight.backward_relaxed(std::move(b), y);
    CHECK(same_bits(gradients(soft.parameters()), gradients(straight.parameters())));
}

TEST_CASE("forward_relaxed: a high inverse temperature gives one-hot rows", "[lstm][relaxed]") {
    lstm_policy<double> p = small_policy();
    relaxed_rows<double> soft, hard, x;
    (void)p.forward_relaxed({}, ids(30), {.inverse_temperature = 1e8, .soft_inputs = true}, key, soft);
    (void)p.forward_relaxed({}, ids(30), {.inverse_temperature = 1e8, .straight_through = true}, key, hard);
    CHECK(gap(soft.share, hard.share) < 1e-12);
    CHECK(soft.hard.token == hard.hard.token);

    auto tape = p.forward_relaxed({}, ids(30), {.inverse_temperature = 1e300}, key, x);
    CHECK(gap(x.share, one_hot(x.hard, V).share) == 0);
    x.d_share.assign(x.share.size(), 1);
    p.backward_relaxed(std::move(tape), x);
    for (const double g : gradients(p.parameters())) REQUIRE(g == 0);
    (void)p.forward_relaxed({}, ids(30), {.inverse_temperature = 1e-300}, key, x);
    for (const double share : x.share) REQUIRE(gap(share, 1.0 / V) < 1e-15);
}

TEST_CASE("forward_relaxed: tokens are a sample of the policy", "[lstm][relaxed]") {
    lstm_policy<double> p = small_policy();
    relaxed_rows<double> x;
    const std::size_t n = 40000;
    (void)p.forward_relaxed({}, ids(n), {.max_length = 2}, {5, 1}, x);
    // Every row is one of 1 + (V - 1) V texts.
    std::vector<double> seen(V * V), probability(V * V);
    for (std::size_t i = 0; i < n; ++i) {
        const auto row = x.hard.row(i);
        const std::size_t text =
            static_cast<std::size_t>(row[0]) * V + (row.size() > 1 ? static_cast<std::size_t>(row[1]) : 0);
        seen[text] += 1;
        double sum = 0;
        for (std::size_t t = 0; t < row.size(); ++t) sum += x.hard.log_prob[x.hard.offset[i] + t];
        probability[text] = std::exp(sum);
    }
    double chi_square = 0, total = 0;
    std::size_t texts = 0;
    for (std::size_t k = 0; k < seen.size(); ++k)
        if (seen[k] > 0) {
            ++texts;
            const double expected = probability[k] * static_cast<double>(n);
            chi_square += (seen[k] - expected) * (seen[k] - expected) / expected;
            total += probability[k];
        }
    CHECK(texts == 1 + (V - 1) * V);
    CHECK(gap(total, 1) < 1e-12);
    CHECK(chi_square < 45.3);  // 20 degrees of freedom, 1 in 1000

    std::vector<double> log_prob(x.hard.token.size());
    p.evaluate(x.hard, {.log_prob = ragged_view<double>::packed(log_prob.data(), x.hard.offset)});
    CHECK(gap(log_prob, x.hard.log_prob) < 1e-12);
}

TEST_CASE("forward_relaxed: rows end at the end token and depend on their ids alone", "[lstm][relaxed]") {
    lstm_policy<double> p = small_policy();
    for (const bool soft_inputs : {false, true}) {
        const relaxation_options o{.soft_inputs = soft_inputs};
        relaxed_rows<double> all, some;
        (void)p.forward_relaxed({}, ids(60), o, key, all);
        std::size_t longest = 0, shortest = 100;
        for (std::size_t i = 0; i < 60; ++i) {
            const auto row = all.hard.row(i);
            longest = std::max(longest, row.size());
            shortest = std::min(shortest, row.size());
            for (std::size_t t = 0; t + 1 < row.size(); ++t) REQUIRE(row[t] != 0);
            REQUIRE((all.hard.end[i] == row_end::terminated) == (row.back() == 0));
            REQUIRE((row.back() == 0 || row.size() == 6));
            const auto share = all.row(i);
            for (std::size_t t = 0; t < row.size(); ++t) {
                double sum = 0;
                for (std::size_t v = 0; v < V; ++v) {
                    sum += share[t * V + v];
                    REQUIRE(share[t * V + v] <= share[t * V + static_cast<std::size_t>(row[t])]);
                }
                REQUIRE(gap(sum, 1) < 1e-12);
            }
        }
        CHECK(longest == 6);
        CHECK(shortest == 1);

        const std::vector<std::uint64_t> picked{31, 4, 59};
        (void)p.forward_relaxed({}, picked, o, key, some);
        for (std::size_t k = 0; k < picked.size(); ++k) {
            const auto a = some.row(k), b = all.row(picked[k]);
            REQUIRE(std::ranges::equal(a, b));
        }
    }
    relaxed_rows<double> none, two;
    auto tape = p.forward_relaxed({}, {}, {}, key, none);
    CHECK(rows(hard_rows(none)) == 0);
    p.backward_relaxed(std::move(tape), none);
    (void)p.forward_relaxed({}, ids(60), {.max_length = 2}, key, two);
    CHECK(*std::ranges::max_element(two.hard.length) == 2);
}

TEST_CASE("forward_relaxed: float agrees with double", "[lstm][relaxed]") {
    const lstm_options o{.vocabulary = V, .embedding = E, .hidden = H, .max_length = 6, .seed = 2};
    lstm_policy<double> p(o);
    lstm_policy<float> q(o);
    lstm_scorer<double> s(p, {});
    lstm_scorer<float> r(q, {});
    relaxed_rows<double> x;
    relaxed_rows<float> y;
    for (double& w : s.parameters()[4].values) w = 0.5;
    for (float& w : r.parameters()[4].values) w = 0.5f;
    auto a = p.forward_relaxed({}, ids(10), {.soft_inputs = true}, key, x);
    auto b = q.forward_relaxed({}, ids(10), {.soft_inputs = true}, key, y);
    REQUIRE(x.hard.token == y.hard.token);
    std::vector<double> score(10), d_score(10, 1.0);
    std::vector<float> score_f(10), d_score_f(10, 1.0f);
    s.input_cotangent(s.forward(x, score), d_score, x);
    r.input_cotangent(r.forward(y, score_f), d_score_f, y);
    for (std::size_t i = 0; i < 10; ++i) CHECK(gap(score[i], score_f[i]) < 1e-5);
    p.backward_relaxed(std::move(a), x);
    q.backward_relaxed(std::move(b), y);
    for (std::size_t k = 0; k < p.parameters().size(); ++k)
        for (std::size_t j = 0; j < p.parameters()[k].values.size(); ++j)
            REQUIRE(gap(p.parameters()[k].gradients[j], q.parameters()[k].gradients[j]) < 1e-5);
}

TEST_CASE("lstm_scorer: one-hot rows are rows", "[lstm][relaxed]") {
    dice d(8);
    for (const pooling pool : {pooling::last, pooling::mean}) {
        lstm_scorer<double> s({.vocabulary = V, .embedding = E, .hidden = H, .pool = pool, .outputs = 2});
        token_batch<double> b = random_shares(d, true).hard;
        const auto n = rows(b);
        std::vector<double> as_tokens(2 * n), as_shares(2 * n), d_score(2 * n);
        for (double& x : d_score) x = d.uniform(-1, 1);
        s.backward(s.forward(b, as_tokens), d_score);
        const auto expected = gradients(s.parameters());
        s.discard();
        s.backward(s.forward(one_hot(b, V), as_shares), d_score);
        CHECK(gap(as_tokens, as_shares) < 1e-12);
        CHECK(gap(expected, gradients(s.parameters())) < 1e-12);
    }
}

TEST_CASE("lstm_scorer: gradients by shares and parameters", "[lstm][relaxed]") {
    dice d(9);
    for (const pooling pool : {pooling::last, pooling::mean})
        for (const bool prompts : {false, true})
            for (const double dropout : {0.0, 0.4}) {
                CAPTURE(prompts, dropout);
                const lstm_scorer<double> fresh({.vocabulary = V,
                                                 .embedding = E,
                                                 .hidden = H,
                                                 .pool = pool,
                                                 .dropout = dropout,
                                                 .seed = 4,
                                                 .outputs = 2});
                lstm_scorer<double> s = fresh.clone();
                relaxed_rows<double> x = random_shares(d, prompts);
                std::vector<double> score(10), d_score(10);
                for (double& c : d_score) c = d.uniform(-1, 1);
                auto first = s.clone(), second = s.clone(), moved = s.clone();
                first.backward(first.forward(x, score), d_score);
                second.input_cotangent(second.forward(x, score), d_score, x);
                for (const double g : gradients(second.parameters())) REQUIRE(g == 0);
                const auto loss = [&] {
                    auto same_units = moved.clone();
                    std::vector<double> now(10);
                    (void)same_units.forward(x, now);
                    double sum = 0;
                    for (std::size_t i = 0; i < 10; ++i) sum += now[i] * d_score[i];
                    return sum;
                };
                CHECK(gap(slopes(moved.parameters(), loss), gradients(first.parameters())) < 1e-8);
                std::vector<double> by_share;
                for (double& share : x.share) by_share.push_back(slope(loss, share));
                CHECK(gap(by_share, x.d_share) < 1e-8);

                auto third = s.clone();  // a second gradient is added
                third.input_cotangent(third.forward(x, score), d_score, x);
                for (std::size_t k = 0; k < by_share.size(); ++k) REQUIRE(gap(2 * by_share[k], x.d_share[k]) < 2e-8);
            }
}

TEST_CASE("relaxed rows: what is refused", "[lstm][relaxed]") {
    lstm_policy<double> p = small_policy();
    lstm_scorer<double> s(p, {});
    relaxed_rows<double> x;
    for (const double wrong : {0.0, -1.0, rlgaf_test::infinity, rlgaf_test::not_a_number})
        CHECK(rlgaf_test::refuses(relaxation_options{.inverse_temperature = wrong}, "relaxation_options",
                                  "inverse_temperature"));
    CHECK_THROWS_AS(p.forward_relaxed(some_prompts(2), ids(3), {}, key, x), shape_error);
    token_prompts strange;
    strange.add(std::vector<std::int32_t>{5});
    CHECK_THROWS_AS(p.forward_relaxed(strange, ids(1), {}, key, x), numeric_error);

    auto tape = p.forward_relaxed({}, ids(3), {}, key, x);
    x.d_share.assign(2, 0);
    CHECK_THROWS_AS(p.backward_relaxed(std::move(tape), x), shape_error);
    x.d_share.clear();
    p.backward_relaxed(std::move(tape), x);
    CHECK(message_of<shape_error>([&] { p.backward_relaxed(std::move(tape), x); }).find("forward_relaxed") !=
          std::string::npos);

    std::vector<double> score(3), one(1);
    CHECK_THROWS_AS(s.forward(x, one), shape_error);
    auto scored = s.forward(x, score);
    s.input_cotangent(std::move(scored), score, x);
    CHECK_THROWS_AS(s.input_cotangent(std::move(scored), score, x), shape_error);
    auto of_tokens = s.forward(x.hard, score);
    CHECK_THROWS_AS(s.input_cotangent(std::move(of_tokens), score, x), shape_error);
    x.vocabulary = 4;
    CHECK_THROWS_AS(s.forward(x, score), shape_error);
    token_batch<double> out_of_range;
    out_of_range.add(std::vector<std::int32_t>{1, 5}, row_end::truncated);
    CHECK_THROWS_AS(one_hot(out_of_range, V), numeric_error);
}
