#include "rlgaf/backend/averaged.hpp"
#include "rlgaf/models/ngram.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

TEST_CASE("averaged_scorer: opinions of the average, gradients and steps of the raw parameters") {
    ngram_scorer<double> raw(small_scorer()), plain(small_scorer());
    averaged_scorer<ngram_scorer<double>> smooth(raw, {.decay = 0.5});
    static_assert(scorer_backend<averaged_scorer<ngram_scorer<double>>, token_batch<double>>);
    const auto rows_now = rows_of<double>({{1, 2, 0}, {3, 0}});
    std::vector<double> a(2), b(2), d = {1, -0.5};
    std::vector<std::vector<double>> opinions;
    for (int k = 0; k < 3; ++k) {
        smooth.backward(smooth.forward(rows_now, a), d);
        plain.backward(plain.forward(rows_now, b), d);
        REQUIRE(a == b);
        smooth.step({.learning_rate = 0.1});
        plain.step({.learning_rate = 0.1});
        REQUIRE(parameters_of(raw) == parameters_of(plain));
        plain.evaluate(rows_now, b);
        opinions.push_back(b);
        smooth.evaluate(rows_now, a);
        REQUIRE(parameters_of(raw) == parameters_of(plain));  // swapped back
    }
    // a linear scorer: the average's score is the average of the scores, weights 1, 2, 4 of 7
    for (std::size_t i = 0; i < 2; ++i)
        REQUIRE(gap(a[i], (opinions[0][i] + 2 * opinions[1][i] + 4 * opinions[2][i]) / 7) < 1e-12);
}

TEST_CASE("averaged: follows a policy as an observer, and gives the parameters back whatever happens") {
    players<double> who(adamw{});
    averaged smooth(who.policy, {.decay = 0.9});
    keep_reports kept;
    adversarial_trainer trainer{who.policy, who.discriminator, who.experts};
    trainer.run(short_run(20), kept, smooth);
    const auto last = parameters_of(who.policy);
    std::vector<double> inside;
    smooth.with_average([&] { inside = parameters_of(who.policy); });
    REQUIRE(inside != last);
    REQUIRE(parameters_of(who.policy) == last);
    REQUIRE_THROWS_AS(smooth.with_average([] { throw std::runtime_error("measuring failed"); }), std::runtime_error);
    REQUIRE(parameters_of(who.policy) == last);
    averaged fresh(who.policy);
    fresh.with_average([&] { inside = parameters_of(who.policy); });
    REQUIRE(inside == last);
}
