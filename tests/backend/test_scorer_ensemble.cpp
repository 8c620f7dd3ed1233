#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/backend/scorer_ensemble.hpp"
#include "rlgaf/discriminator/per_column.hpp"
#include "rlgaf/io/checkpoint.hpp"
#include "rlgaf/models/ngram.hpp"
#include "rlgaf/reward_shaping/ensemble_reward.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
using scorer_d = ngram_scorer<double>;
using ensemble = scorer_ensemble<scorer_d>;
static_assert(scorer_backend<ensemble, token_batch<double>>);

scorer_d member(std::uint64_t seed, optimizer_choice optimizer = sgd{}) {
    auto options = small_scorer(optimizer);
    options.seed = seed;
    return scorer_d(options);
}
}  // namespace

TEST_CASE("scorer_ensemble: each member's scores stand in its column, and its gradient is that of its column") {
    scorer_d a = member(1), b = member(2), c = member(3), a2 = member(1), b2 = member(2), c2 = member(3);
    ensemble judges{{&a, &b, &c}};
    REQUIRE(judges.width() == 3);
    const auto batch = rows_of<double>({{1, 2, 0}, {3, 0}});
    std::vector<double> all(6), again(6), one(2);
    judges.evaluate(batch, all);
    std::vector<double> d = {1, -2, 0.5, 3, -1, 4};
    judges.backward(judges.forward(batch, again), d);
    REQUIRE(again == all);
    judges.step({.learning_rate = 0.1, .max_norm = 1});
    std::size_t m = 0;
    for (auto* alone : {&a2, &b2, &c2}) {
        alone->evaluate(batch, one);
        REQUIRE((all[m] == one[0] && all[3 + m] == one[1]));
        alone->backward(alone->forward(batch, one), std::vector<double>{d[m], d[3 + m]});
        alone->step({.learning_rate = 0.1, .max_norm = 1});
        ++m;
    }
    REQUIRE(parameters_of(a) == parameters_of(a2));
    REQUIRE(parameters_of(b) == parameters_of(b2));
    REQUIRE(parameters_of(c) == parameters_of(c2));
    REQUIRE(parameters_of(a) != parameters_of(b));
}

TEST_CASE("scorer_ensemble: the norm of all, discarded gradients, errors") {
    scorer_d a = member(1), b = member(2), a2 = member(1), b2 = member(2);
    ensemble judges{{&a, &b}};
    const auto batch = rows_of<double>({{1, 2, 0}});
    std::vector<double> all(2), one(1);
    const std::vector<double> d = {3, -1};
    const auto back = [&] { judges.backward(judges.forward(batch, all), d); };
    back();
    a2.backward(a2.forward(batch, one), std::vector<double>{3});
    b2.backward(b2.forward(batch, one), std::vector<double>{-1});
    const step_report r = judges.step({.learning_rate = 0}), x = a2.step({.learning_rate = 0}),
                      y = b2.step({.learning_rate = 0});
    REQUIRE(r.applied);
    REQUIRE(gap(r.grad_norm, std::hypot(x.grad_norm, y.grad_norm)) < 1e-14);
    back();
    judges.discard();
    REQUIRE(judges.step({.learning_rate = 0.1}).grad_norm == 0);
    REQUIRE_THROWS_AS(ensemble(std::vector<scorer_d*>{}), option_error);
    REQUIRE(message_of<shape_error>([&] { judges.evaluate(batch, one); }) ==
            "rlgaf::scorer_ensemble: score: expected 2 elements, got 1");
    REQUIRE(message_of<shape_error>([&] { judges.backward(judges.forward(batch, all), one); }) ==
            "rlgaf::scorer_ensemble::backward: d_score: expected 2 elements, got 1");
}

TEST_CASE("scorer_ensemble of one member passes the conformance checks of a scorer") {
    scorer_d a = member(1, adamw{});
    ensemble alone{{&a}};
    const auto report = check_conformance_scorer(alone, rows_of<double>({{1, 2, 0}, {3, 0}, {2}, {1, 1, 2, 3}}));
    INFO(to_string(report));
    REQUIRE(report.ok());
}

TEST_CASE("scorer_ensemble in a trainer: every member learns, the policy follows, and a checkpoint holds them all") {
    players<double> who(adamw{});
    scorer_d a = member(1, adamw{}), b = member(2, adamw{}), c = member(3, adamw{});
    ensemble judges{{&a, &b, &c}};
    const auto before = parameters_of(a), policy_before = parameters_of(who.policy);
    adversarial_options options = short_run(60, 0.03);
    options.rows = 64;
    keep_reports kept;
    adversarial_trainer trainer{who.policy, judges, who.experts, per_column{bce{}}, ensemble_reward{}};
    trainer.run(options, kept);
    REQUIRE(kept.reports.back().discriminator_steps == options.discriminator_updates);
    REQUIRE(trainer.last_round().width == 3);
    REQUIRE(parameters_of(a) != before);
    REQUIRE(parameters_of(who.policy) != policy_before);
    double best = 0;
    for (const round_report& r : kept.reports) best = std::fmax(best, r.accuracy);
    REQUIRE(best > 0.6);

    scorer_d a2 = member(4, adamw{}), b2 = member(5, adamw{}), c2 = member(6, adamw{});
    ensemble restored{{&a2, &b2, &c2}};
    const temp_dir dir;
    save_checkpoint(dir / "judges.safetensors", judges);
    load_checkpoint(dir / "judges.safetensors", restored);
    REQUIRE(parameters_of(a2) == parameters_of(a));
    REQUIRE(parameters_of(b2) == parameters_of(b));
    REQUIRE(parameters_of(c2) == parameters_of(c));
}
