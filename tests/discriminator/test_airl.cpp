#include "rlgaf/discriminator/airl.hpp"
#include "rlgaf/discriminator/loss/bce.hpp"
#include "support/pointwise_checks.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::airl_logits;
using rlgaf::airl_score;

namespace {
using vector = std::vector<double>;

vector logits(const vector& score, const vector& log_prob) {
    vector h(score.size());
    airl_logits<double>(score, log_prob, h);
    return h;
}
}  // namespace

TEST_CASE("airl_logits of rows: f - log pi, in place as well") {
    REQUIRE(logits({1, -2}, {-0.5, -3}) == vector{1.5, 1});
    vector f = {1, -2};
    const vector log_prob = {-0.5, -3};
    airl_logits<double>(f, log_prob, f);
    REQUIRE(f == vector{1.5, 1});
    std::vector<float> h(1);
    airl_logits<float>(std::vector<float>{0.25f}, std::vector<float>{-1.5f}, h);
    REQUIRE(h[0] == 1.75f);
    REQUIRE(message_of<rlgaf::shape_error>([] {
                logits({1, 2}, {1});
            }) == "rlgaf::airl_logits: log_prob: expected 2 elements, got 1");
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                airl_logits<double>(log_prob, log_prob, std::span<double>(f).first(1));
            }) == "rlgaf::airl_logits: logit: expected 2 elements, got 1");
}

TEST_CASE("With airl_logits and bce the optimal score is the expert's log-prob, and h the log density ratio") {
    const two_distributions both{{0.7, 0.3}, {0.2, 0.8}};
    const auto loss = [&](const vector& f) {
        vector log_q;
        for (const double q : both.q) log_q.push_back(std::log(q));
        return both.expected(rlgaf::bce{}, logits(f, log_q));
    };
    const vector f = {std::log(0.7), std::log(0.3)};
    const score_result best = loss(f);
    for (std::size_t k = 0; k < 2; ++k) REQUIRE(std::abs(best.d_real[k] + best.d_fake[k]) < 1e-15);
    REQUIRE(gap(logits(f, {std::log(0.2), std::log(0.8)}), {std::log(3.5), std::log(0.375)}) < 1e-15);
    vector moved = {0.3, -1.1};  // dL / df = dL / dh
    const score_result r = loss(moved);
    for (std::size_t k = 0; k < 2; ++k)
        REQUIRE(gap(slope([&] { return loss(moved).stats.loss; }, moved[k]), r.d_real[k] + r.d_fake[k]) < 1e-9);
}

TEST_CASE("Trap: the log-prob of a whole text tells long from short, and h saturates") {
    // the same f a token; rows of 2 and 200 tokens of 5 nats each
    const vector h = logits({0, 0}, {-10, -1000});
    const score_result r = run(rlgaf::bce{}, {{h[0]}, {h[1]}, {0}});
    REQUIRE(r.stats.loss == 1000 + std::log1p(std::exp(-10.0)));
    REQUIRE(r.stats.accuracy == 0);
}

TEST_CASE("airl_logits of tokens: in both layouts, and masked slots are neither read nor written") {
    dice d(3);
    for (int i = 0; i < 500; ++i)
        for (const layout how : layouts) {
            const table shape = random_shape(d, 5, 4), mask = random_mask(d, shape);
            const auto cell = [&](auto b, auto t) { return included(mask, b, t) ? d.normal() : not_a_number; };
            const table f = table_like(shape, cell), log_prob = table_like(shape, cell);
            ragged<double> score(f, how, not_a_number), log(log_prob, how, not_a_number),
                h(table_like(shape, [](auto, auto) { return 77.0; }), how, 99);
            ragged<std::uint8_t> m(mask, how, 1);
            airl_logits<double>(score.view(), log.view(), m.view(), h.view());
            REQUIRE(h.guards_intact());
            const table result = h.rows();
            for (std::size_t b = 0; b < shape.size(); ++b)
                for (std::size_t t = 0; t < shape[b].size(); ++t)
                    REQUIRE(result[b][t] == (included(mask, b, t) ? f[b][t] - log_prob[b][t] : 77));
        }
    ragged<double> two({{1, 2}}, layout::packed, 0), one({{1}}, layout::packed, 0);
    ragged<std::uint8_t> none({}, layout::packed, 0), short_mask({{1}}, layout::packed, 0);
    const auto message = [&](auto& log_prob, auto& mask, auto& out) {
        return message_of<rlgaf::shape_error>(
            [&] { airl_logits<double>(two.view(), log_prob.view(), mask.view(), out.view()); });
    };
    REQUIRE(message(one, none, two) == "rlgaf::airl_logits: log_prob row 0: expected 2 tokens, got 1");
    REQUIRE(message(two, none, one) == "rlgaf::airl_logits: logit row 0: expected 2 tokens, got 1");
    REQUIRE(message(two, short_mask, two) == "rlgaf::airl_logits: mask row 0: expected 2 tokens, got 1");
}

TEST_CASE("airl_score: a reward and a potential, whose next value counts unless the transition ended") {
    vector f(3);
    const std::vector<std::uint8_t> done = {0, 1, 0};
    airl_score{.gamma = 0.5}.operator()<double>(vector{1, 2, 3}, vector{10, 20, 30}, vector{4, not_a_number, 0}, done,
                                                f);
    REQUIRE(f == vector{1 + 2 - 10, 2 - 20, 3 - 30});
    vector d_reward(3, 5), d_potential(3, 5), d_next(3, 5);
    airl_score{.gamma = 0.5}.backward<double>(vector{1, 2, -4}, done, d_reward, d_potential, d_next);
    REQUIRE(d_reward == vector{6, 7, 1});
    REQUIRE(d_potential == vector{4, 3, 9});
    REQUIRE(d_next == vector{5.5, 5, 3});
}

TEST_CASE(
    "airl_score along a path: potentials telescope, so that the discounted sum of f is that of g but for the ends") {
    dice d(4);
    for (int i = 0; i < 300; ++i) {
        const std::size_t n = 1 + d.below(6);
        const airl_score score{.gamma = d.uniform(0.5, 1)};
        vector g(n), potential(n + 1), f(n), d_f(n), d_g(n), d_potential(n + 1);
        for (auto* x : {&g, &potential, &d_f})
            for (double& v : *x) v = d.normal();
        std::vector<std::uint8_t> done(n, 0);
        done.back() = d.chance(0.5);
        const std::span<double> all(potential), d_all(d_potential);
        const auto run = [&] {
            score(std::span<const double>(g), std::span<const double>(all.first(n)),
                  std::span<const double>(all.subspan(1)), std::span<const std::uint8_t>(done), std::span(f));
        };
        run();
        double sum_f = 0, sum_g = 0, discount = 1;
        for (std::size_t t = 0; t < n; ++t, discount *= score.gamma) sum_f += discount * f[t], sum_g += discount * g[t];
        REQUIRE(gap(sum_f, sum_g + (done.back() ? 0 : discount * potential[n]) - potential[0]) < 1e-12);

        score.backward(std::span<const double>(d_f), std::span<const std::uint8_t>(done), std::span(d_g),
                       d_all.first(n), d_all.subspan(1));
        const auto value = [&] {
            run();
            double sum = 0;
            for (std::size_t t = 0; t < n; ++t) sum += d_f[t] * f[t];
            return sum;
        };
        for (std::size_t t = 0; t < n; ++t) REQUIRE(gap(slope(value, g[t]), d_g[t]) < 1e-8);
        for (std::size_t t = 0; t <= n; ++t) REQUIRE(gap(slope(value, potential[t]), d_potential[t]) < 1e-8);
    }
}

TEST_CASE("airl_score in float, and what it refuses") {
    std::vector<float> f(1);
    const std::vector<std::uint8_t> done = {0};
    airl_score{.gamma = 1}.operator()<float>(std::vector<float>{1}, std::vector<float>{2}, std::vector<float>{4}, done,
                                             f);
    REQUIRE(f[0] == 3);
    for (const double x : {-0.1, 1.1, not_a_number}) REQUIRE(refuses(airl_score{x}, "airl_score", "gamma"));
    const vector one(1), two(2);
    vector out(1), d_one(1), d_two(2);
    REQUIRE(message_of<rlgaf::shape_error>([&] { airl_score{}.operator()<double>(one, one, two, done, out); }) ==
            "rlgaf::airl_score: next_potential: expected 1 elements, got 2");
    REQUIRE(message_of<rlgaf::shape_error>([&] { airl_score{}.backward<double>(one, done, d_one, d_two, d_one); }) ==
            "rlgaf::airl_score: potential: expected 1 elements, got 2");
}
