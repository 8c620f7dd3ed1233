// What the trainer makes of the adversary's options: losses of rows, tokens and pairs, penalties, constraints, noise, replay.
#include "rlgaf/discriminator/regularizer/approximate_r1.hpp"
#include "rlgaf/discriminator/regularizer/gradient_penalty.hpp"
#include "rlgaf/discriminator/regularizer/instance_noise.hpp"
#include "rlgaf/discriminator/regularizer/r1.hpp"
#include "rlgaf/discriminator/regularizer/r2.hpp"
#include "rlgaf/discriminator/regularizer/spectral_norm.hpp"
#include "rlgaf/discriminator/regularizer/token_noise.hpp"
#include "rlgaf/discriminator/regularizer/weight_clip.hpp"
#include "rlgaf/models/lstm.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {

using rows_d = token_batch<double>;
using tabular = players<double>;

/// The same language for a recurrent discriminator.
struct neural {
    ngram_policy<double> policy{small_policy(adamw{})};
    lstm_scorer<double> discriminator;
    demonstrations<rows_d> experts{
        rows_of<double>({{1, 2, 3, 0}, {1, 2, 0}, {2, 3, 0}, {1, 2, 3, 3, 0}, {3, 0}, {2, 2, 3, 0}})};
    explicit neural(lstm_scorer_options o = {}) : discriminator(with_sizes(o)) {}
    static lstm_scorer_options with_sizes(lstm_scorer_options o) {
        o.vocabulary = 4, o.embedding = 3, o.hidden = 4;
        return o;
    }
    std::vector<double> parameters() { return parameters_of(discriminator); }
};

/// Parameters of both sides after a few rounds with these components.
template <class Players, class... C>
std::vector<double> trained(Players who, const adversarial_options& options, C... components) {
    keep_reports kept;
    adversarial_trainer trainer{who.policy, who.discriminator, who.experts, components...};
    trainer.run(options, kept);
    for (const round_report& r : kept.reports) {
        REQUIRE(r.discriminator_steps == options.discriminator_updates);
        REQUIRE(r.discarded_steps == 0);
    }
    const std::vector<double> all = who.parameters();
    REQUIRE(finite(all));
    return all;
}

/// Keeps what step would have used.
struct peek {
    lstm_scorer<double>& s;
    std::vector<double> seen;
    using scalar = double;
    using tape = lstm_scorer<double>::tape;
    using perturbation = lstm_scorer<double>::perturbation;
    void evaluate(const rows_d& b, std::span<double> x) { s.evaluate(b, x); }
    tape forward(const rows_d& b, std::span<double> x) { return s.forward(b, x); }
    tape forward(const rows_d& b, const perturbation& p, std::span<double> x) { return s.forward(b, p, x); }
    void backward(tape&& t, std::span<const double> d) { s.backward(static_cast<tape&&>(t), d); }
    perturbation noise(const rows_d& b, double sigma, rng_key k, std::size_t first = 0) {
        return s.noise(b, sigma, k, first);
    }
    perturbation towards(const rows_d& a, const rows_d& b, std::span<const double> d) { return s.towards(a, b, d); }
    perturbation input_gradient(const rows_d& b, const perturbation& p, std::span<const double> d) {
        return s.input_gradient(b, p, d);
    }
    void row_norms(const perturbation& p, std::span<double> n) { s.row_norms(p, n); }
    void scale(perturbation& p, std::span<const double> d) { s.scale(p, d); }
    void add(perturbation& p, const perturbation& q) { s.add(p, q); }
    step_report step(const step_options&) {
        seen.clear();
        for (const auto& block : s.parameters())
            seen.insert(seen.end(), block.gradients.begin(), block.gradients.end());
        return {.grad_norm = 1, .applied = true};
    }
    void discard() { s.discard(); }
};

}  // namespace

TEST_CASE("an input penalty of the trainer is the penalty of update_discriminator, and costs the loss nothing else") {
    const adversarial_options options = short_run(3);
    const auto plain = trained(neural{}, options), none = trained(neural{}, options, r1{.gamma = 0}),
               some = trained(neural{}, options, r1{.gamma = 1});
    REQUIRE(plain == none);
    REQUIRE(plain != some);
    keep_reports kept;
    neural who;
    adversarial_trainer trainer{who.policy, who.discriminator, who.experts, r1{.gamma = 2}, r2{.gamma = 0}};
    trainer.run(options, kept);
    for (const round_report& r : kept.reports) {
        REQUIRE(r.input_gradient > 0);
        REQUIRE(r.discriminator_regularizer > 0);
    }
}

TEST_CASE("update_discriminator: loss and penalty add up, whatever the micro-batches; every n-th step counts n times") {
    neural who;
    const rows_d real = who.experts.sample(6, {1, 0}),
                 fake = rows_of<double>({{1, 1, 0}, {2, 0}, {3, 3, 3, 0}, {1, 0}, {2, 1, 0}, {0}});
    const std::vector<std::uint32_t> pairs = {0, 1, 2, 3, 4, 5};
    const auto gradient = [&](std::size_t micro, std::size_t every, std::uint64_t steps, auto... extra) {
        lstm_scorer<double> scorer(who.discriminator);
        discriminator_scratch<double> scratch;
        scratch.steps = steps;
        part loss{bce{}};
        peek scorer_seen{scorer, {}};
        std::tuple<part<decltype(extra)>...> parts{part<decltype(extra)>(extra)...};
        std::apply(
            [&](auto&... p) {
                update_discriminator(scorer_seen, real, fake, {pairs},
                                     {.micro_batch_rows = micro, .penalty_every = every}, loss, scratch, {7, 1}, p...);
            },
            parts);
        return scorer_seen.seen;
    };
    const auto loss_alone = gradient(0, 1, 0), together = gradient(0, 1, 0, r1{.gamma = 3});
    const auto thrice = gradient(0, 3, 0, r1{.gamma = 3}), skipped = gradient(0, 3, 1, r1{.gamma = 3});
    REQUIRE(skipped == loss_alone);
    for (std::size_t i = 0; i < loss_alone.size(); ++i)
        REQUIRE(gap(thrice[i] - loss_alone[i], 3 * (together[i] - loss_alone[i])) < 1e-8);
    REQUIRE(relative_gap(together, gradient(2, 1, 0, r1{.gamma = 3})) < 1e-7);
    REQUIRE(relative_gap(gradient(0, 1, 0, gradient_penalty{}), gradient(4, 1, 0, gradient_penalty{})) < 1e-6);
    REQUIRE(relative_gap(gradient(0, 1, 0, score_l2{.coefficient = 1}), gradient(2, 1, 0, score_l2{.coefficient = 1})) <
            1e-9);
    const auto splits_alike = [&](auto component) {
        return relative_gap(gradient(0, 1, 0, component), gradient(4, 1, 0, component)) < 1e-6 &&
               relative_gap(gradient(0, 1, 0, component), loss_alone) > 1e-3;
    };
    REQUIRE(splits_alike(dragan{}));
    REQUIRE(splits_alike(approximate_r1{}));
    REQUIRE(splits_alike(instance_noise{.sigma = {.from = 0.5}}));
}

TEST_CASE("bradley_terry is switched for hinge and r1 by editing one line") {
    const auto last_round = [](auto... adversary) {
        neural who;
        keep_reports kept;
        adversarial_trainer trainer{who.policy, who.discriminator, who.experts, adversary...};
        trainer.run(short_run(5), kept);
        return kept.reports.back();
    };
    const round_report before = last_round(bradley_terry{});
    REQUIRE(is_nan(&before.input_gradient));
    const round_report r = last_round(hinge{}, r1{.gamma = 1});
    REQUIRE((r.discriminator_steps == 1 && r.discriminator_loss > 0 && r.input_gradient > 0));
    REQUIRE(r.discriminator_regularizer > 0);
}

TEST_CASE("wgan has no minimum; spectral_norm bounds the scores of a neural discriminator, its last layer too") {
    neural who;
    const rows_d real = who.experts.sample(6, {1, 0}),
                 fake = rows_of<double>({{1, 1, 0}, {2, 0}, {3, 3, 3, 0}, {1, 0}, {2, 1, 0}, {0}});
    const std::vector<std::uint32_t> pairs = {0, 1, 2, 3, 4, 5};
    const auto lowest_loss = [&](auto... constraint) {
        lstm_scorer<double> scorer(neural::with_sizes({.optimizer = {}}));
        discriminator_scratch<double> scratch;
        part loss{wgan{}};
        std::tuple<part<decltype(constraint)>...> parts{part<decltype(constraint)>(constraint)...};
        double lowest = 0;
        for (int step = 0; step < 400; ++step)
            std::apply(
                [&](auto&... p) {
                    lowest = std::fmin(
                        lowest, update_discriminator(scorer, real, fake, {pairs}, {.step = {.learning_rate = 0.05}},
                                                     loss, scratch, {7, 1}, p...)
                                    .loss.loss);
                },
                parts);
        return lowest;
    };
    // 4 states within 1 and a head of norm 1: scores are within 2 of the bias, and their means within 4 of each other
    const double free = lowest_loss(), held = lowest_loss(spectral_norm{});
    CAPTURE(free, held);
    REQUIRE(free < -4);
    REQUIRE(held > -4);
    REQUIRE(held < -0.1);
}

TEST_CASE("weight_clip and spectral_norm hold after every round of the trainer") {
    for (const bool clip : {true, false}) {
        tabular who(adamw{});
        keep_reports kept;
        adversarial_options options = short_run(5, 0.3);
        const auto largest = [&] {
            double x = 0, total = 0;
            for (const double v : parameters_of(who.discriminator)) x = std::fmax(x, std::abs(v)), total += v * v;
            return std::array{x, std::sqrt(total)};
        };
        if (clip) {
            adversarial_trainer trainer{who.policy, who.discriminator, who.experts, weight_clip{.limit = 0.2}};
            trainer.run(options, kept);
            REQUIRE(largest()[0] <= 0.2);
        } else {
            adversarial_trainer trainer{who.policy, who.discriminator, who.experts, spectral_norm{.norm = 0.7}};
            trainer.run(options, kept);
            // of a 5 x 4 table: the Frobenius norm is at most sqrt(4) times the spectral one
            REQUIRE(largest()[1] <= 2 * 0.7 * 1.05);
            REQUIRE(largest()[1] >= 0.7 * 0.95);
        }
    }
}

TEST_CASE("instance noise and token noise fade by their schedules and are reported") {
    const schedule fading{.shape = schedule_shape::linear, .from = 0.4, .to = 0, .steps = 4};
    keep_reports kept;
    neural who;
    adversarial_trainer trainer{who.policy, who.discriminator, who.experts, instance_noise{.sigma = fading}};
    trainer.run(short_run(6), kept);
    REQUIRE(gap(kept.reports[0].discriminator_noise, 0.4) < 1e-12);
    REQUIRE(gap(kept.reports[2].discriminator_noise, 0.2) < 1e-12);
    REQUIRE(kept.reports[5].discriminator_noise == 0);
    const auto quiet = instance_noise{.sigma = {.from = 0}};
    REQUIRE(relative_gap(trained(neural{}, short_run(3)), trained(neural{}, short_run(3), quiet)) < 1e-9);
    REQUIRE(trained(neural{}, short_run(3)) != trained(neural{}, short_run(3), instance_noise{.sigma = {.from = 0.5}}));

    keep_reports tokens;
    tabular other;
    adversarial_trainer noisy{other.policy, other.discriminator, other.experts,
                              token_noise{.vocabulary = 4, .probability = fading}};
    noisy.run(short_run(6), tokens);
    REQUIRE(gap(tokens.reports[1].discriminator_noise, 0.3) < 1e-12);
    REQUIRE(trained(tabular{}, short_run(3)) ==
            trained(tabular{}, short_run(3), token_noise{.vocabulary = 4, .probability = {.from = 0}}));
}

TEST_CASE("beginnings join the discriminator's step; replay forgets by age; the warm-up ends when it is accurate") {
    adversarial_options options = short_run(4);
    const auto plain = trained(tabular{}, options);
    options.beginnings = 1;
    REQUIRE(trained(tabular{}, options) != plain);
    options.beginnings = 0;
    options.replay_age = 1;
    REQUIRE(trained(tabular{}, options) != plain);
    options.replay_age = 1000;
    REQUIRE(trained(tabular{}, options) == plain);

    adversarial_options slow = short_run(30);
    slow.discriminator_warmup = 30;
    slow.policy.step.learning_rate = 0.1;
    slow.warmup_accuracy = 0.6;
    keep_reports kept;
    tabular who(adamw{});
    adversarial_trainer trainer{who.policy, who.discriminator, who.experts};
    trainer.run(slow, kept);
    std::size_t first = 0;
    while (first < 30 && kept.reports[first].policy_steps == 0) ++first;
    REQUIRE(first > 0);
    REQUIRE(first < 30);
    REQUIRE(kept.reports[first - 1].accuracy > 0.6);
    for (std::size_t i = 0; i + 1 < first; ++i) REQUIRE(!(kept.reports[i].accuracy > 0.6));
}

TEST_CASE("rewards with dropout on: the mean of passes, which is another number than without") {
    const rows_d some = rows_of<double>({{1, 2, 3, 0}, {2, 2, 0}});
    neural who({.dropout = 0.5});
    trajectories<ngram_policy<double>> t;
    t.batch = some;
    score(who.discriminator, t);
    const std::vector<double> without = t.score;
    score(who.discriminator, t, 0, 2000);
    REQUIRE(t.score != without);
    REQUIRE(gap(t.score, without) < 0.05);  // linear in the dropped units: the same in the mean
    REQUIRE(t.score.size() == 2);
}

TEST_CASE("shortcut_probe in the trainer sees that samples are longer") {
    keep_reports kept;
    tabular who;
    demonstrations<rows_d> short_ones{rows_of<double>({{0}})};
    adversarial_options options = short_run(10);
    options.policy.step.learning_rate = 1e-9;
    adversarial_trainer trainer{who.policy, who.discriminator, short_ones, shortcut_probe{}};
    trainer.run(options, kept);
    REQUIRE(kept.reports[0].shortcut_accuracy == 0.5);
    REQUIRE(kept.reports[9].shortcut_accuracy > 0.7);
}

TEST_CASE("rollouts, tokens, pairs, several columns, greedy baselines and score norms run through one trainer") {
    const adversarial_options options = short_run(4);
    const auto by_step = reinforce{.baseline = reinforce_baseline::per_step, .discount = 0};
    const auto none = trained(tabular{}, options);
    const auto rolled = trained(tabular{}, options, by_step, pipeline{rollout_reward{}}, rollout_values{.rollouts = 4});
    const auto vine =
        trained(tabular{}, options, reinforce{.baseline = reinforce_baseline::none, .discount = 0, .group_size = 0},
                pipeline{rollout_reward{.credit = rollout_credit::difference, .initial_is_mean = true}},
                rollout_values{.rollouts = 4, .map = score_map::logit});
    const auto stepwise = trained(tabular{}, options, reinforce{}, on_tokens{bce{}}, pipeline{token_score_reward{}});
    const auto spread = trained(tabular{}, options, reinforce{}, on_tokens{bce{}}, pipeline{score_difference{}});
    for (const auto* x : {&rolled, &vine, &stepwise, &spread}) REQUIRE(*x != none);
    REQUIRE(stepwise != spread);

    const auto three = trained(neural{{.outputs = 3}}, options, per_column{bce{}}, pipeline{ensemble_reward{}});
    REQUIRE(three != trained(neural{{.outputs = 3}}, options, per_column{hinge{}}, pipeline{ensemble_reward{}}));
    trained(neural{{.outputs = 3}}, options, batch_deviation{bce{}}, pipeline{deviation_reward{}});
    trained(neural{{.outputs = 3}}, options, rank_gan{}, pipeline{rank_reward{}});

    trained(tabular{}, options, remax{});
    trained(tabular{}, options, optimal_token_baseline{.group_size = 4});

    neural who({.outputs = 3});
    pair_critic critic(who.discriminator, {.separator = 0});
    const auto before = who.parameters();
    keep_reports kept;
    adversarial_trainer trainer{who.policy, critic, who.experts, three_way{}, pipeline{raro_reward{}}, accuracy_gate{}};
    trainer.run(short_run(4), kept);
    REQUIRE(who.parameters() != before);
    for (const round_report& r : kept.reports) {
        REQUIRE(r.accuracy >= 0);
        REQUIRE(r.accuracy <= 1);
        REQUIRE(r.discriminator_steps == 1);
    }
}

TEST_CASE("fixed rows and demonstrations' scores reach the reward stages that ask for them") {
    const adversarial_options options = short_run(4);
    const rows_d fixed = rows_of<double>({{1, 2, 3, 0}, {3, 0}, {2, 0}});
    // grpo would divide the scale away again
    REQUIRE(trained(tabular{}, options, reinforce{}, pipeline{standard_score_reward{}}, fixed_rows(fixed)) !=
            trained(tabular{}, options, reinforce{}));
    REQUIRE(trained(tabular{}, options, pipeline{bradley_terry_reward{}}) != trained(tabular{}, options));
    tabular who;
    trajectories<ngram_policy<double>> t;
    roll_out(who.policy, {}, {.rows = 8, .group_size = 4}, {3, 0}, t);
    score(who.discriminator, t);
    part stage{pipeline{bradley_terry_reward{}}};
    REQUIRE_THROWS_AS(shape(stage, t), option_error);
    part other{pipeline{standard_score_reward{}}};
    REQUIRE_THROWS_AS(shape(other, t), option_error);
    const std::vector<std::uint32_t> matched = {0, 0, 0, 0, 1, 1, 1, 1};
    score_experts(who.discriminator, t, fixed, matched);
    REQUIRE(t.expert_score.size() == 8);
    REQUIRE(t.expert_score[0] == t.expert_score[3]);
    REQUIRE(t.expert_score[3] != t.expert_score[4]);
    shape(stage, t);
}
