#include "rlgaf/backend/airl_scorer.hpp"
#include "rlgaf/backend/averaged_scorer.hpp"
#include "rlgaf/backend/scorer_ensemble.hpp"
#include "rlgaf/discriminator/on_tokens.hpp"
#include "rlgaf/discriminator/regularizer/r1.hpp"
#include "rlgaf/models/lstm.hpp"
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

TEST_CASE("averaged_scorer: rewards of a trainer's round are the average's, of passes with dropout too") {
    for (const std::size_t passes : {0u, 2u}) {
        players<double> who(adamw{});
        averaged_scorer smooth(who.discriminator, {.decay = 0.9});
        adversarial_trainer trainer{who.policy, smooth, who.experts};
        adversarial_options options = short_run(20);
        options.score_passes = passes;
        trainer.run(options);
        options.rounds = 1, options.discriminator_updates = 0;
        trainer.run(options);
        const std::vector<double> score = trainer.last_round().score;
        std::vector<double> average(score.size()), raw(score.size());
        smooth.evaluate(trainer.last_round().batch, average);
        who.discriminator.evaluate(trainer.last_round().batch, raw);
        REQUIRE(gap(score, average) < 1e-14);
        REQUIRE(gap(score, raw) > 1e-3);
    }
}

TEST_CASE("averaged_scorer within another scorer: rewards of passes with dropout are the average's too") {
    const auto check = [](auto& who, auto& judge, auto... components) {
        adversarial_trainer trainer{who.policy, judge, who.experts, components...};
        adversarial_options options = short_run(20);
        options.score_passes = 2;
        trainer.run(options);
        options.rounds = 1, options.discriminator_updates = 0, options.policy.step.learning_rate = 0;
        trainer.run(options);
        const std::vector<double> score = trainer.last_round().score;
        std::vector<double> average(score.size()), raw(score.size());
        judge.evaluate(trainer.last_round().batch, average);
        (void)judge.forward(trainer.last_round().batch, raw);
        REQUIRE(gap(score, average) < 1e-14);
        REQUIRE(gap(score, raw) > 1e-3);
    };
    using smooth_scorer = averaged_scorer<ngram_scorer<double>>;
    players<double> who(adamw{}), other(adamw{});
    ngram_scorer<double> second(small_scorer(adamw{}));
    smooth_scorer alone(who.discriminator), a(other.discriminator), b(second, {.decay = 0.5});
    airl_scorer airl(alone, who.policy);
    check(who, airl);
    scorer_ensemble<smooth_scorer> judges{{&a, &b}};
    check(other, judges, per_column{bce{}}, ensemble_reward{});
}

TEST_CASE("averaged_scorer judges tokens by the average, and trains the raw parameters on them") {
    using smooth_scorer = averaged_scorer<ngram_scorer<double>>;
    static_assert(scores_tokens<smooth_scorer, token_batch<double>>);
    players<double> who(adamw{});
    smooth_scorer smooth(who.discriminator, {.decay = 0.5});
    adversarial_trainer trainer{who.policy, smooth, who.experts, on_tokens{bce{}}, token_score_reward{}};
    REQUIRE(trainer.run(short_run(5)).discriminator_steps == 1);
    const auto b = who.experts.all();
    ragged_buffer<double> average, raw, expected;
    for (auto* x : {&average, &raw, &expected}) x->assign(lengths(b));
    smooth.evaluate_tokens(b, average.view());
    (void)smooth.forward_tokens(b, raw.view());
    who.discriminator.evaluate_tokens(b, expected.view());
    const auto flat = [](ragged_buffer<double>& x) { return std::vector<double>(x.flat().begin(), x.flat().end()); };
    REQUIRE(flat(raw) == flat(expected));
    REQUIRE(gap(flat(average), flat(expected)) > 1e-3);
}

TEST_CASE("averaged_scorer goes with penalties and with what tokens have to do with a score") {
    using smooth_scorer = averaged_scorer<lstm_scorer<double>>;
    static_assert(perturbs_inputs<smooth_scorer, token_batch<double>>);
    static_assert(attributes_tokens<smooth_scorer, token_batch<double>>);
    static_assert(!perturbs_inputs<averaged_scorer<ngram_scorer<double>>, token_batch<double>>);
    const auto run = [](auto& policy, auto& judge, auto& experts) {
        adversarial_trainer trainer{policy,  judge,          experts,
                                    hinge{}, r1{.gamma = 1}, pipeline{logit_reward{}, gradient_redistribution{}}};
        return trainer.run(short_run(5));
    };
    const lstm_scorer_options sizes{.vocabulary = 4, .embedding = 3, .hidden = 4};
    players<double> who(adamw{}), other(adamw{});
    lstm_scorer<double> scorer(sizes), twin(sizes);
    smooth_scorer smooth(scorer, {.decay = 0.9});
    const round_report r = run(who.policy, smooth, who.experts), s = run(other.policy, twin, other.experts);
    REQUIRE((r.discriminator_steps == 1 && r.input_gradient > 0));
    REQUIRE(parameters_of(who.policy) != parameters_of(other.policy));  // paid by another opinion
    REQUIRE(s.discriminator_steps == 1);
}
