#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/backend/input_penalty.hpp"
#include "rlgaf/discriminator/per_column.hpp"
#include "rlgaf/discriminator/regularizer/gradient_penalty.hpp"
#include "rlgaf/discriminator/regularizer/r1.hpp"
#include "rlgaf/models/cnn_scorer.hpp"
#include "rlgaf/models/lstm_policy.hpp"
#include "rlgaf/training/pathwise.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::dice;
using rlgaf_test::gap;
using rlgaf_test::ids;
using rlgaf_test::slope;

namespace {

static_assert(check_scorer<cnn_scorer<float>, token_batch<float>>());
static_assert(perturbs_inputs<cnn_scorer<float>, token_batch<float>>);
static_assert(relaxes<lstm_policy<float>, cnn_scorer<float>>);
static_assert(relaxes<lstm_policy<double>, cnn_scorer<double>>);

constexpr std::size_t V = 5, E = 3, F = 4;

cnn_scorer<double> small_scorer(std::size_t outputs = 1, double dropout = 0) {
    return cnn_scorer<double>({.vocabulary = V,
                               .embedding = E,
                               .filters = F,
                               .widths = {2, 3},
                               .seed = 3,
                               .dropout = dropout,
                               .outputs = outputs});
}

relaxed_rows<double> random_rows(dice& d, bool prompts) {
    relaxed_rows<double> x;
    x.vocabulary = V;
    for (const std::size_t length : {3u, 1u, 0u, 6u, 2u}) {
        std::vector<std::int32_t> tokens(length);
        for (auto& token : tokens) token = static_cast<std::int32_t>(d.below(V));
        x.hard.add(tokens, row_end::truncated);
        const std::vector<std::int32_t> prompt{1, 4, 2, 3};
        if (prompts) x.hard.prompt.add(std::span(prompt).first(length % 4));
        for (std::size_t k = 0; k < length * V; ++k) x.share.push_back(d.uniform(0, 0.5));
    }
    return x;
}

/// Scores by the formula, of rows of shares.
std::vector<double> by_formula(cnn_scorer<double>& s, const relaxed_rows<double>& x) {
    const auto block = s.parameters();
    std::vector<double> scores;
    for (std::size_t i = 0; i < rows(x.hard); ++i) {
        std::vector<std::vector<double>> inputs;
        const auto read = [&](const double* share) {
            auto& to = inputs.emplace_back(E);
            for (std::size_t e = 0; e < E; ++e)
                for (std::size_t v = 0; v < V; ++v) to[e] += share[v] * block[0].values[v * E + e];
        };
        if (rows(x.hard.prompt) > 0)
            for (const std::int32_t token : x.hard.prompt.row(i)) {
                std::vector<double> one(V);
                one[static_cast<std::size_t>(token)] = 1;
                read(one.data());
            }
        for (std::size_t t = 0; t < x.hard.length[i]; ++t) read(x.row(i).data() + t * V);
        while (inputs.size() < 3) inputs.emplace_back(E);
        const std::size_t outputs = block[6].values.size(), first = scores.size();
        scores.insert(scores.end(), block[6].values.begin(), block[6].values.end());
        for (std::size_t k = 0; k < 2; ++k)
            for (std::size_t f = 0; f < F; ++f) {
                const std::size_t width = k + 2;
                double feature = 0;
                for (std::size_t t = 0; t + width <= inputs.size(); ++t) {
                    double match = block[2 + 2 * k].values[f];
                    for (std::size_t j = 0; j < width; ++j)
                        for (std::size_t e = 0; e < E; ++e)
                            match += block[1 + 2 * k].values[f * width * E + j * E + e] * inputs[t + j][e];
                    feature = std::fmax(feature, match);
                }
                for (std::size_t o = 0; o < outputs; ++o)
                    scores[first + o] += feature * block[5].values[(k * F + f) * outputs + o];
            }
    }
    return scores;
}

std::vector<double> gradients(cnn_scorer<double>& s) {
    std::vector<double> g;
    for (const auto& b : s.parameters()) g.insert(g.end(), b.gradients.begin(), b.gradients.end());
    return g;
}

}  // namespace

TEST_CASE("cnn_scorer: scores and gradients are those of the formula", "[cnn]") {
    dice d(2);
    for (const std::size_t outputs : {1u, 3u})
        for (const bool prompts : {false, true}) {
            cnn_scorer<double> s = small_scorer(outputs);
            REQUIRE(score_width(s) == outputs);
            for (const auto& b : s.parameters())
                for (double& x : b.values) x += d.uniform(-0.2, 0.2);
            relaxed_rows<double> x = random_rows(d, prompts);
            std::vector<double> score(5 * outputs), tokens(5 * outputs), d_score(5 * outputs);
            for (double& c : d_score) c = d.uniform(-1, 1);
            s.backward(s.forward(x, score), d_score);
            CHECK(gap(score, by_formula(s, x)) < 1e-13);
            const auto loss = [&] {
                const auto now = by_formula(s, x);
                double sum = 0;
                for (std::size_t i = 0; i < now.size(); ++i) sum += now[i] * d_score[i];
                return sum;
            };
            std::vector<double> expected, by_share;
            for (const auto& b : s.parameters())
                for (double& w : b.values) expected.push_back(slope(loss, w));
            const auto got = gradients(s);
            CHECK(gap(expected, got) < 1e-8);

            s.input_cotangent(s.forward(x, score), d_score, x);
            for (double& share : x.share) by_share.push_back(slope(loss, share));
            CHECK(gap(by_share, x.d_share) < 1e-8);
            CHECK(gap(got, gradients(s)) == 0);

            relaxed_rows<double> one = one_hot(x.hard, V);
            s.evaluate(x.hard, tokens);
            CHECK(gap(tokens, by_formula(s, one)) < 1e-13);
            s.discard();
            s.backward(s.forward(x.hard, tokens), d_score);
            const auto of_tokens = gradients(s);
            s.discard();
            s.backward(s.forward(one, score), d_score);
            CHECK(gap(of_tokens, gradients(s)) < 1e-13);
            CHECK(gap(tokens, score) < 1e-13);
        }
}

TEST_CASE("cnn_scorer: dropout is on in forward, and off where scores are read or inputs moved", "[cnn]") {
    dice d(4);
    cnn_scorer<double> plain = small_scorer(2), s = small_scorer(2, 0.25);
    relaxed_rows<double> x = random_rows(d, true);
    std::vector<double> expected(10), score(10), again(10), d_score(10);
    for (double& c : d_score) c = d.uniform(-1, 1);
    plain.evaluate(x.hard, expected);
    s.evaluate(x.hard, score);
    CHECK(score == expected);
    const auto p = s.noise(x.hard, 0.1, {1, 0});
    (void)s.forward(x.hard, p, score);
    (void)plain.forward(x.hard, p, expected);
    CHECK(score == expected);

    // what a forward drops is its own, and a clone's k-th forward drops the same
    (void)s.forward(x.hard, score);
    (void)s.forward(x.hard, again);
    CHECK(score != again);
    const auto first_of = [&](const cnn_scorer<double>& of, const auto& input) {
        auto clone = of.clone();
        std::vector<double> out(10);
        (void)clone.forward(input, std::span(out));
        return out;
    };
    CHECK(first_of(s, x.hard) == score);
    CHECK(first_of(s, one_hot(x.hard, V)) == score);

    // gradients by differences, with the same features dropped
    cnn_scorer<double> trained = s.clone();
    trained.backward(trained.forward(x, score), d_score);
    std::vector<double> by_weight, by_share;
    cnn_scorer<double> moved = s.clone();
    const auto loss = [&] {
        const auto now = first_of(moved, x);
        double sum = 0;
        for (std::size_t i = 0; i < 10; ++i) sum += now[i] * d_score[i];
        return sum;
    };
    for (const auto& b : moved.parameters())
        for (double& w : b.values) by_weight.push_back(slope(loss, w));
    CHECK(gap(by_weight, gradients(trained)) < 1e-8);
    cnn_scorer<double> asked = s.clone();
    asked.input_cotangent(asked.forward(x, score), d_score, x);
    for (double& share : x.share) by_share.push_back(slope(loss, share));
    CHECK(gap(by_share, x.d_share) < 1e-8);

    // on average nothing changes: 4000 passes
    std::vector<double> mean(10);
    plain.evaluate(x.hard, expected);
    for (int k = 0; k < 4000; ++k) {
        (void)s.forward(x.hard, score);
        for (std::size_t i = 0; i < 10; ++i) mean[i] += score[i] / 4000;
    }
    CHECK(gap(mean, expected) < 0.05);
}

TEST_CASE("cnn_scorer: attribution is that of the mean of a row's numbers", "[cnn]") {
    cnn_scorer<double> s = small_scorer(2, 0.5);
    token_batch<double> b;  // no phrase twice: equal windows are a kink
    for (const std::vector<std::int32_t>& row : {std::vector<std::int32_t>{3, 1, 0, 4, 2}, {2, 4}, {1, 3, 2, 0}})
        b.add(row, row_end::truncated);
    std::vector<double> weight(b.token.size());
    s.attribute(b, ragged_view<double>::packed(weight.data(), b.offset));
    for (std::size_t i = 0; i < rows(b); ++i) {
        relaxed_rows<double> x = one_hot(b, V);
        for (std::size_t t = 0; t < b.length[i]; ++t) {
            // a token's own share scales its embedding
            double& share = x.share[(b.offset[i] + t) * V + static_cast<std::size_t>(b.row(i)[t])];
            const auto mean = [&] {
                const auto now = by_formula(s, x);
                return (now[2 * i] + now[2 * i + 1]) / 2;
            };
            CHECK(gap(slope(mean, share), weight[b.offset[i] + t]) < 1e-8);
        }
    }
}

TEST_CASE("cnn_scorer: the conformance kit finds nothing", "[cnn]") {
    dice d(5);
    cnn_scorer<double> s = small_scorer();
    const token_batch<double> b = random_rows(d, true).hard;
    const auto found = check_conformance_scorer(s, b);
    INFO(to_string(found));
    CHECK(found.ok());
}

TEST_CASE("cnn_scorer: moved inputs, and the gradient by them, against finite differences", "[cnn]") {
    for (const bool prompts : {false, true}) {
        dice d(7);
        auto scorer = small_scorer();
        const token_batch<double> b = random_rows(d, prompts).hard;
        std::vector<double> still(rows(b)), moved(rows(b)), weight(rows(b));
        for (double& w : weight) w = d.normal();
        scorer.evaluate(b, still);
        scorer.forward(b, cnn_scorer<double>::perturbation{}, moved);
        REQUIRE(moved == still);
        scorer.forward(b, scorer.noise(b, 0, {1, 0}), moved);
        REQUIRE(moved == still);
        const auto at = scorer.noise(b, 0.5, {1, 0});
        scorer.forward(b, at, moved);
        REQUIRE(gap(moved, still) > 0.1);
        const auto g = scorer.input_gradient(b, at, weight);
        auto p = at;
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t k = 0; k < p.row(i).size(); ++k) {
                const auto value = [&] {
                    scorer.forward(b, p, moved);
                    double sum = 0;
                    for (std::size_t j = 0; j < moved.size(); ++j) sum += weight[j] * moved[j];
                    return sum;
                };
                REQUIRE(gap(slope(value, p.row(i)[k]), g.row(i)[k]) < 1e-7);
            }
        const std::vector<std::size_t> last = {2, 3, 4};  // rows keep their noise wherever a step is cut
        const auto part = scorer.noise(select(b, last), 0.5, {1, 0}, 2);
        for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t k = 0; k < part.row(i).size(); ++k) REQUIRE(part.row(i)[k] == at.row(2 + i)[k]);
    }
}

TEST_CASE("cnn_scorer: the gradient of r1 and of an interpolated penalty, against finite differences", "[cnn]") {
    dice d(9);
    auto scorer = small_scorer();
    const token_batch<double> real = random_rows(d, false).hard, fake = random_rows(d, false).hard;
    const std::vector<std::uint32_t> pairs = {0, 1, 2, 3, 4};
    const auto check = [&](const auto& penalty) {
        penalty_scratch<double> scratch;
        scorer.discard();
        accumulate_penalty(scorer, real, fake, {pairs}, penalty, 1, {3, 1}, 2, scratch);
        std::vector<double> got, want;
        for (const auto& block : scorer.parameters())
            got.insert(got.end(), block.gradients.begin(), block.gradients.end());
        auto copy = scorer.clone();
        const auto value = [&] {
            copy.discard();
            return accumulate_penalty(copy, real, fake, {pairs}, penalty, 1, {3, 1}, 0, scratch).loss;
        };
        for (auto& block : copy.parameters())
            for (double& x : block.values) want.push_back(slope(value, x));
        double size = 0;
        for (const double x : want) size = std::fmax(size, std::abs(x));
        REQUIRE(size > 0.01);
        REQUIRE(gap(got, want) < 1e-4 * size);
    };
    check(r1{.gamma = 2});
    check(gradient_penalty{.lambda = 3});
}

TEST_CASE("cnn_scorer: learns to tell rows apart, and pathwise training runs on it", "[cnn]") {
    token_batch<float> shown;
    for (const std::vector<std::int32_t>& row : {std::vector<std::int32_t>{1, 2, 0}, {2, 1, 2, 0}})
        shown.add(row, row_end::terminated);
    demonstrations<token_batch<float>> experts(shown);
    const auto train = [&](cnn_scorer_options options, auto loss) {
        lstm_policy<float> policy({.vocabulary = V, .embedding = E, .hidden = 8, .max_length = 4});
        cnn_scorer<float> s(options);
        pathwise_trainer trainer(policy, s, experts, loss);
        pathwise_options o{.rounds = 100};
        o.policy.learning_rate = 0;
        o.discriminator.learning_rate = 1e-2;
        o.discriminator_steps = 1;
        CHECK(trainer.run(o).accuracy > 0.9);
        o.policy.learning_rate = 1e-3;
        CHECK(trainer.run(o).policy_steps == 1);
    };
    cnn_scorer_options options{.vocabulary = V, .embedding = 8, .filters = 8};
    train(options, bradley_terry{});
    options.dropout = 0.25, options.outputs = 8;  // RelGAN's
    train(options, per_column{bradley_terry{.score_penalty = 0}});
}

TEST_CASE("cnn_scorer: a policy climbs a learned CNN that stays as it is", "[cnn]") {
    token_batch<double> shown;
    for (const std::vector<std::int32_t>& row : {std::vector<std::int32_t>{1, 2, 0}, {2, 1, 2, 0}})
        shown.add(row, row_end::terminated);
    for (const std::uint64_t seed : {1u, 2u, 3u})
        for (const bool straight_through : {false, true}) {
            lstm_policy<double> policy({.vocabulary = V, .embedding = E, .hidden = 8, .max_length = 4, .seed = seed});
            cnn_scorer<double> s({.vocabulary = V, .embedding = 4, .filters = 6, .widths = {1, 2}, .seed = seed});
            demonstrations<token_batch<double>> experts(shown);
            pathwise_trainer trainer(policy, s, experts);
            pathwise_options o{.rounds = 100, .seed = seed, .relaxation = {.straight_through = straight_through}};
            o.policy.learning_rate = 0;
            o.discriminator.learning_rate = 1e-2;
            o.discriminator_steps = 1;
            trainer.run(o);
            const auto mean_score = [&] {
                const auto b = policy.rollout({}, ids(1000), {.max_length = 4}, {77, 0});
                std::vector<double> score(rows(b));
                s.evaluate(b, score);
                double sum = 0;
                for (const double x : score) sum += x / 1000;
                return sum;
            };
            const double before = mean_score();
            o.policy.learning_rate = 1e-2;
            o.discriminator_steps = 0;
            trainer.run(o);
            const double after = mean_score();
            CAPTURE(seed, straight_through, before, after);
            CHECK(after > before + 0.1);
        }
}

TEST_CASE("cnn_scorer: what is refused", "[cnn]") {
    const auto refused = [](cnn_scorer_options o, const char* field) {
        return rlgaf_test::refuses(o, "cnn_scorer_options", field);
    };
    CHECK(refused({}, "vocabulary"));
    CHECK(refused({.vocabulary = 3, .embedding = 0}, "embedding"));
    CHECK(refused({.vocabulary = 3, .filters = 0}, "filters"));
    CHECK(refused({.vocabulary = 3, .widths = {}}, "widths"));
    CHECK(refused({.vocabulary = 3, .widths = {2, 0}}, "widths"));
    CHECK(refused({.vocabulary = 3, .outputs = 0}, "outputs"));
    for (const double p : {-0.1, 1.0, rlgaf_test::not_a_number})
        CHECK(refused({.vocabulary = 3, .dropout = p}, "dropout"));

    cnn_scorer<double> s = small_scorer();
    std::vector<double> score(1), two(2);
    token_batch<double> b, strange;
    b.add(std::vector<std::int32_t>{1, 2}, row_end::truncated);
    strange.add(std::vector<std::int32_t>{1, 5}, row_end::truncated);
    CHECK_THROWS_AS(s.evaluate(b, two), shape_error);
    CHECK_THROWS_AS(s.evaluate(strange, score), numeric_error);
    auto tape = s.forward(b, score);
    CHECK_THROWS_AS(s.backward(std::move(tape), two), shape_error);
    s.backward(std::move(tape), score);
    CHECK_THROWS_AS(s.backward(std::move(tape), score), shape_error);
    relaxed_rows<double> x = one_hot(b, V);
    auto of_tokens = s.forward(b, score);
    CHECK_THROWS_AS(s.input_cotangent(std::move(of_tokens), score, x), shape_error);
    x.vocabulary = 4;
    CHECK_THROWS_AS(s.forward(x, score), shape_error);
    std::vector<double> none;
    s.evaluate({}, none);
}
