#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/lstm_critic.hpp"
#include "rlgaf/policy_gradient/entropy.hpp"
#include "rlgaf/training/fit_reward_model.hpp"
#include "rlgaf/training/rlhf.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

/// RLHF on a made-up preference: rows with more twos, and among equals with fewer ones, are better.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

double worth(std::span<const std::int32_t> row) {
    double sum = 0;
    for (const std::int32_t t : row) sum += t == 2 ? 1 : t == 1 ? -0.5 : 0;
    return sum;
}
double worth_of_row(const batch& b, std::size_t i) { return worth(b.row(i)); }

/// Two samples a comparison, judged by their worth; equal ones are no pair.
struct compared {
    batch said;
    std::vector<preference_pair> pairs;

    template <class P>
    compared(P& policy, std::size_t comparisons, std::uint64_t seed) {
        std::vector<std::uint64_t> id(2 * comparisons);
        for (std::size_t i = 0; i < id.size(); ++i) id[i] = i;
        said = policy.rollout({}, id, {}, {seed, 0});
        for (std::uint32_t i = 0; i < id.size(); i += 2) {
            const double a = worth_of_row(said, i), b = worth_of_row(said, i + 1);
            if (a != b) pairs.push_back(a > b ? preference_pair{i, i + 1} : preference_pair{i + 1, i});
        }
    }
};

table_model table_critic() {
    return table_model({.shape = {.vocabulary = 4, .order = 3}, .max_length = 5, .optimizer = adamw{}});
}
rlhf_options short_rlhf(std::size_t rounds) {
    rlhf_options o;
    o.rounds = rounds;
    o.rows = 64;
    o.critic_warmup = 2;
    o.policy.step.learning_rate = 0.02;
    o.policy.epochs = o.policy.minibatches = 2;
    o.critic.step.learning_rate = 0.1;
    o.critic.loss.rule = value_rule::squared;
    return o;
}
/// The pipeline of RLHF with a controller that settles within a test.
auto kl_on_target(double target) {
    return pipeline{logit_reward{},
                    adaptive_kl_penalty{.controller = {.initial = 0.2, .target_per_sequence = target, .horizon = 640}},
                    missing_eos{.penalty = 1}};
}
/// Exact KL(policy || reference) of whole rows, nats.
double sequence_kl(table_model& policy, table_model& reference) {
    const auto all = enumerate(policy);
    ragged_buffer<double> log_prob;
    log_prob.assign(lengths(all.rows));
    reference.evaluate(all.rows, {.log_prob = log_prob.view()});
    double kl = 0;
    for (std::size_t i = 0; i < all.probability.size(); ++i)
        kl +=
            all.probability[i] * (std::log(all.probability[i]) - sum(std::span<const double>(log_prob.view().row(i))));
    return kl;
}

/// Everything that learns or remembers, as bits.
template <class Policy, class Scorer, class Critic>
std::vector<double> all_parameters(Policy& policy, Scorer& scorer, Critic& critic) {
    std::vector<double> all = parameters_of(policy);
    for (const double x : parameters_of(scorer)) all.push_back(x);
    for (const double x : parameters_of(critic)) all.push_back(x);
    return all;
}

}  // namespace

TEST_CASE("rlhf: pairs, a reward model, PPO: the policy learns what is preferred, as far as the KL target lets it",
          "[training]") {
    table_model policy(small_policy(adamw{})), critic = table_critic();
    table_model before = policy.clone();
    ngram_scorer<double> model({.shape = {.vocabulary = 4, .order = 2}, .optimizer = adamw{}});
    const compared seen(policy, 600, 1), fresh(policy, 300, 2);
    fit_reward_model(model, seen.said, seen.pairs,
                     {.epochs = 20, .pairs_per_step = 32, .step = {.learning_rate = 0.05}});
    REQUIRE(judge_pairs(model, fresh.said, fresh.pairs).accuracy > 0.97);

    const std::vector<double> frozen = parameters_of(model);
    const auto run = [&](double target) {
        table_model learner = policy.clone(), judge_of_value = critic.clone();
        rlhf_trainer trainer{learner, model, judge_of_value, kl_on_target(target)};
        keep_reports kept;
        const round_report last = trainer.run(short_rlhf(400), kept);
        REQUIRE(last.discarded_steps == 0);
        struct {
            double worth, kl, reported, beta, explained_first, explained_last;
        } result{expected_reward(learner, worth), sequence_kl(learner, before), 0, last.kl_beta, 0, 0};
        for (std::size_t i = 0; i < 100; ++i) {
            result.reported += kept.reports[kept.reports.size() - 1 - i].kl_reference_per_row / 100;
            result.explained_last += kept.reports[kept.reports.size() - 1 - i].explained_variance / 100;
        }
        result.explained_first = kept.reports[0].explained_variance;
        return result;
    };
    const double at_first = expected_reward(policy, worth);
    const auto near = run(0.5), far = run(1.5);
    INFO("worth " << at_first << ", " << near.worth << " at " << near.kl << " nats (beta " << near.beta << "), "
                  << far.worth << " at " << far.kl << " nats (beta " << far.beta << ")");
    CHECK(near.worth > at_first + 0.5);
    CHECK(far.worth > near.worth + 0.3);
    CHECK(near.kl == Approx(0.5).epsilon(0.25));
    CHECK(far.kl == Approx(1.5).epsilon(0.25));
    CHECK(near.reported == Approx(0.5).epsilon(0.2));
    CHECK(far.reported == Approx(1.5).epsilon(0.2));
    CHECK(near.explained_first == Approx(0).margin(1e-9));  // a critic of zeros
    CHECK(near.explained_last > 0.1);
    REQUIRE(same_bits(frozen, parameters_of(model)));
}

TEST_CASE("rlhf: an LSTM policy, reward model and critic go the same way", "[training]") {
    lstm_policy<float> policy({.vocabulary = 4, .embedding = 6, .hidden = 16, .end_token = 0, .max_length = 5});
    const auto mean_worth = [](lstm_policy<float>& p) {
        std::vector<std::uint64_t> id(2000);
        for (std::size_t i = 0; i < id.size(); ++i) id[i] = i;
        const auto b = p.rollout({}, id, {}, {77, 0});
        double total = 0;
        for (std::size_t i = 0; i < rows(b); ++i) total += worth(b.row(i));
        return total / 2000;
    };
    lstm_scorer<float> model(policy, {});
    std::vector<std::uint64_t> id(1200);
    for (std::size_t i = 0; i < id.size(); ++i) id[i] = i;
    const auto said = policy.rollout({}, id, {}, {1, 0});
    std::vector<preference_pair> pairs;
    for (std::uint32_t i = 0; i < id.size(); i += 2) {
        const double a = worth(said.row(i)), b = worth(said.row(i + 1));
        if (a != b) pairs.push_back(a > b ? preference_pair{i, i + 1} : preference_pair{i + 1, i});
    }
    const std::size_t shown = pairs.size() * 3 / 4;
    const std::span<const preference_pair> all(pairs);
    fit_reward_model(model, said, all.first(shown),
                     {.epochs = 15, .pairs_per_step = 32, .step = {.learning_rate = 5e-3}});
    REQUIRE(judge_pairs(model, said, all.subspan(shown)).accuracy > 0.9);

    lstm_critic<float> critic(policy, {});
    const double before = mean_worth(policy);
    rlhf_trainer trainer{policy, model, critic, kl_on_target(1.0), gae{.lambda = 0.9}, ppo_clip{}, entropy_bonus{}};
    rlhf_options options = short_rlhf(250);
    options.policy.step.learning_rate = 3e-3;
    options.critic.step.learning_rate = 3e-3;
    keep_reports kept;
    trainer.run(options, kept);
    double kl = 0, explained = 0;
    for (std::size_t i = 200; i < 250; ++i) {
        kl += kept.reports[i].kl_reference_per_row / 50;
        explained += kept.reports[i].explained_variance / 50;
    }
    INFO("worth " << before << " -> " << mean_worth(policy) << ", KL " << kl << ", explained " << explained);
    CHECK(mean_worth(policy) > before + 0.6);
    CHECK(explained > 0.1);
    CHECK(kl == Approx(1).epsilon(0.2));
}

TEST_CASE("rlhf: a true reward may stand in, and everything has a default", "[training]") {
    table_model policy(small_policy(adamw{})), critic = table_critic();
    true_reward judge{worth_of_row};
    rlhf_trainer trainer{policy, judge, critic};
    const double before = expected_reward(policy, worth);
    keep_reports kept;
    trainer.run(short_rlhf(40), kept);
    REQUIRE(expected_reward(policy, worth) > before + 0.5);
    REQUIRE(kept.reports[0].kl_beta == 0.2);
    REQUIRE(kept.reports[0].kl_reference_per_row == Approx(0).margin(1e-12));
    REQUIRE(kept.reports.back().kl_reference_per_row > 0.2);
    REQUIRE(kept.reports.back().kl_beta < 0.2);  // below a target of 6 nats
    REQUIRE(kept.reports.back().kl_reference_per_row ==
            Approx(kept.reports.back().kl_reference_per_token * kept.reports.back().length_mean));
}

TEST_CASE("rlhf: in the warm-up only the critic learns", "[training]") {
    table_model policy(small_policy(adamw{})), critic = table_critic();
    ngram_scorer<double> model(small_scorer());
    rlhf_trainer trainer{policy, model, critic};
    const std::vector<double> before = parameters_of(policy), value_before = parameters_of(critic);
    keep_reports kept;
    trainer.run(short_rlhf(2), kept);
    REQUIRE(same_bits(parameters_of(policy), before));
    REQUIRE(!same_bits(parameters_of(critic), value_before));
    for (const round_report& r : kept.reports) {
        REQUIRE((r.policy_steps == 0 && r.critic_steps == 16));
        REQUIRE(r.policy_loss != r.policy_loss);  // not measured
        REQUIRE(r.value_loss > 0);
    }
    trainer.run(short_rlhf(1), kept);
    REQUIRE((kept.reports.back().policy_steps == 4 && trainer.rounds_done() == 3));
    REQUIRE(!same_bits(parameters_of(policy), before));
}

TEST_CASE("rlhf: the same seed gives the same bits, and run goes on where it stopped", "[training]") {
    const auto trained = [](std::uint64_t seed, std::vector<std::size_t> calls, std::size_t micro_rows = 0) {
        table_model policy(small_policy(adamw{})), critic = table_critic();
        ngram_scorer<double> model(small_scorer());
        rlhf_trainer trainer{policy, model, critic, kl_on_target(1)};
        for (const std::size_t rounds : calls) {
            rlhf_options options = short_rlhf(rounds);
            options.seed = seed;
            options.micro_batch_rows = options.policy.micro_batch_rows = options.critic.micro_batch_rows = micro_rows;
            trainer.run(options);
        }
        return all_parameters(policy, model, critic);
    };
    const std::vector<double> whole = trained(1, {9});
    REQUIRE(finite(whole));
    REQUIRE(same_bits(whole, trained(1, {9})));
    REQUIRE(same_bits(whole, trained(1, {4, 0, 5})));
    REQUIRE(!same_bits(whole, trained(2, {9})));
    REQUIRE(relative_gap(whole, trained(1, {9}, 7)) < 1e-9);
}

TEST_CASE("rlhf: by hand, role by role, it is the trainer's round", "[training]") {
    table_model policy(small_policy(adamw{})), critic = table_critic();
    ngram_scorer<double> model(small_scorer());
    rlhf_options options = short_rlhf(3);
    options.critic_warmup = 1;
    table_model policy_too = policy, critic_too = critic, reference = policy.clone();
    rlhf_trainer{policy, model, critic, kl_on_target(1)}.run(options);

    trajectories<table_model> t;
    part advantage{gae{}};
    part loss{ppo_clip{}};
    part reward{kl_on_target(1)};
    for (std::uint32_t round = 0; round < 3; ++round) {
        const rng_key key{options.seed, round};
        roll_out(policy_too, no_prompts{}, {.rows = options.rows, .group_size = 1}, key, t);
        evaluate_reference(reference, t);
        score(model, t);
        shape(reward, t);
        evaluate_values(critic_too, t);
        if (round == 0)
            estimate_returns(t, advantage);
        else
            update_policy(policy_too, t, options.policy, key, advantage, loss);
        update_critic(critic_too, t, options.critic, key);
    }
    REQUIRE(same_bits(parameters_of(policy), parameters_of(policy_too)));
    REQUIRE(same_bits(parameters_of(critic), parameters_of(critic_too)));
}

TEST_CASE("rlhf: schedules multiply both learning rates; observers may stop", "[training]") {
    struct stepped : table_model {
        using table_model::table_model;
        std::vector<double> rates;
        step_report step(const step_options& o) {
            rates.push_back(o.learning_rate);
            return table_model::step(o);
        }
        stepped clone() const { return *this; }
    };
    stepped policy(small_policy()), critic(small_policy());
    ngram_scorer<double> model(small_scorer());
    rlhf_options options = short_rlhf(4);
    options.critic_warmup = 0;
    options.policy.epochs = options.policy.minibatches = options.critic.epochs = options.critic.minibatches = 1;
    options.policy_rate = {.shape = schedule_shape::linear, .to = 0.5, .steps = 2};
    options.critic_rate = {.shape = schedule_shape::linear, .to = 0, .steps = 2};
    struct {
        std::size_t rollouts = 0, ends = 0;
        bool on_round(const round_report& r) { return r.round == 3; }
        void on_rollout(const round_report&, const batch& b) { rollouts += rows(b) == 64; }
        void on_end(const round_report&) { ++ends; }
    } watch;
    rlhf_trainer trainer{policy, model, critic};
    REQUIRE(trainer.run(options, watch).round == 3);
    REQUIRE((watch.rollouts == 3 && watch.ends == 1));
    REQUIRE(gap(policy.rates, std::vector<double>{0.02, 0.015, 0.01}) < 1e-15);
    REQUIRE(gap(critic.rates, std::vector<double>{0.1, 0.05, 0}) < 1e-15);
    REQUIRE(trainer.last_round().has_value);
}

TEST_CASE("rlhf: prompts, a frozen reference and a rule of the user's own", "[training]") {
    struct questions {
        token_prompts sample(std::size_t n, rng_key key) const {
            token_prompts p;
            for (std::size_t i = 0; i < n; ++i) {
                const std::int32_t token[] = {random_stream(key, stream::prompts, i).uniform(0) < 0.5 ? 3 : 4};
                p.add(token);
            }
            return p;
        }
    } source;
    using asked = ngram_policy<double, token_prompts>;
    const ngram_policy_options shape{.shape = {.vocabulary = 5, .order = 2}, .max_length = 4, .optimizer = adamw{}};
    asked policy(shape), critic(shape), reference(shape);
    // 3 is answered by 1, 4 by 2.
    true_reward judge{[](const batch& b, std::size_t i) { return b.row(i)[0] == b.prompt.row(i)[0] - 2 ? 1.0 : 0.0; }};
    rlhf_trainer trainer{
        policy,         judge, critic, prompts_from(source), frozen_reference(reference), gae{.group_size = 4},
        kl_on_target(2)};
    rlhf_options options = short_rlhf(60);
    const round_report last = trainer.run(options);
    REQUIRE(last.score_policy > 0.8);
    REQUIRE(last.kl_reference_per_row > 0.3);
    for (const double x : parameters_of(reference)) REQUIRE(x == 0);
}

TEST_CASE("rlhf: a policy whose numbers disagree does not pass the gate", "[training]") {
    struct faulty : table_model {
        using table_model::table_model;
        tape forward(const batch& b, policy_outputs<double> out) {
            tape t = table_model::forward(b, out);
            out.log_prob.row(2)[0] += 0.1;
            return t;
        }
        faulty clone() const { return *this; }
    } policy(small_policy());
    table_model critic = table_critic();
    ngram_scorer<double> model(small_scorer());
    rlhf_trainer trainer{policy, model, critic};
    const std::string message = message_of<numeric_error>([&] { trainer.run(short_rlhf(1)); });
    REQUIRE(contains(message, "rlgaf::rlhf_trainer: forward's log_prob of row 2 token 0"));
    REQUIRE(trainer.rounds_done() == 0);
    for (const double x : parameters_of(critic)) REQUIRE(x == 0);
}

TEST_CASE("rlhf: options that cannot be are refused by name", "[training]") {
    table_model policy(small_policy()), critic = table_critic();
    ngram_scorer<double> model(small_scorer());
    rlhf_trainer trainer{policy, model, critic};
    const auto refusal = [&](auto&& change) {
        rlhf_options options = short_rlhf(1);
        change(options);
        return message_of<option_error>([&] { trainer.run(options); });
    };
    REQUIRE(contains(refusal([](rlhf_options& o) { o.policy.epochs = 0; }), "policy_update_options: .epochs"));
    REQUIRE(contains(refusal([](rlhf_options& o) { o.critic.epochs = 0; }), "critic_update_options: .epochs"));
    REQUIRE(contains(refusal([](rlhf_options& o) { o.critic.loss.clip = -1; }), "value_loss: .clip"));
    REQUIRE(contains(refusal([](rlhf_options& o) { o.log_prob_tolerance = -1; }), ".log_prob_tolerance"));
    REQUIRE(contains(refusal([](rlhf_options& o) { o.rows = 0; }), ".rows"));
    REQUIRE(contains(refusal([](rlhf_options& o) { o.sampling.temperature = 0; }), ".temperature"));
    REQUIRE(trainer.rounds_done() == 0);
}

TEST_CASE("rlhf: Pop-Art lets a critic follow rewards that are far from zero; its head is rescaled exactly",
          "[training]") {
    lstm_policy<double> policy({.vocabulary = 4, .embedding = 4, .hidden = 8, .end_token = 0, .max_length = 5});
    lstm_critic<double> critic({.vocabulary = 4, .embedding = 4, .hidden = 8, .seed = 3});
    std::vector<std::uint64_t> id(20);
    count_up(std::span(id));
    const auto said = policy.rollout({}, id, {}, {1, 0});
    ragged_buffer<double> before, after;
    before.assign(lengths(said));
    after.assign(lengths(said));
    critic.evaluate(said, {.value = before.view()});
    critic.rescale(0.25, -3);
    critic.evaluate(said, {.value = after.view()});
    for (std::size_t i = 0; i < before.flat().size(); ++i)
        REQUIRE(after.flat()[i] == Approx(0.25 * before.flat()[i] - 3).epsilon(1e-12));
    critic.rescale(4, 12);

    true_reward judge{[](const batch& b, std::size_t i) { return 500 + 20 * worth_of_row(b, i); }};
    const auto explained = [&](bool normalize) {
        lstm_policy<double> learner = policy.clone();
        lstm_critic<double> judge_of_value = critic.clone();
        rlhf_trainer trainer{learner, judge, judge_of_value, logit_reward{.clip = 1e6}};
        rlhf_options options = short_rlhf(25);
        options.critic_warmup = 25;
        options.critic.step.learning_rate = 0.01;
        options.critic.normalize_returns = normalize;
        return trainer.run(options).explained_variance;
    };
    const double with = explained(true), without = explained(false);
    INFO("explained " << without << " -> " << with);
    REQUIRE(with > 0.1);
    REQUIRE(without < with);
}

TEST_CASE("rlhf: a KL coefficient that is halved or doubled is reported like the adaptive one", "[training]") {
    table_model policy(small_policy(adamw{})), critic = table_critic();
    true_reward judge{worth_of_row};
    rlhf_trainer trainer{policy, judge, critic,
                         pipeline{logit_reward{}, kl_step_penalty{.controller = {.initial = 0.5}}}};
    keep_reports kept;
    trainer.run(short_rlhf(3), kept);
    REQUIRE(kept.reports[0].kl_beta == 0.5);
    REQUIRE(kept.reports[1].kl_beta == 0.25);  // the policy stood still
    REQUIRE(kept.reports[2].kl_beta == 0.125);
}

TEST_CASE("rlhf: the reference follows the policy where it is asked to", "[training]") {
    const auto run = [](bool sync, std::uint64_t every) {
        table_model policy(small_policy()), critic = table_critic();
        true_reward judge{worth_of_row};
        rlhf_trainer trainer{policy, judge, critic};
        rlhf_options options = short_rlhf(6);
        options.critic_warmup = 0;
        options.policy.step.learning_rate = 0.2;
        options.sync_reference = sync;
        options.reference = {.mix = 1, .every = every};
        keep_reports kept;
        trainer.run(options, kept);
        return kept.reports;
    };
    const auto fixed = run(false, 1), each = run(true, 1), third = run(true, 12);  // 4 steps a round
    for (std::size_t i = 1; i < 6; ++i) {
        REQUIRE(std::abs(fixed[i].kl_reference_per_row) > 1e-6);
        REQUIRE(each[i].kl_reference_per_row == Approx(0).margin(1e-12));
        REQUIRE((i == 3) == (std::abs(third[i].kl_reference_per_row) < 1e-12));
    }

    table_model policy(small_policy()), critic = table_critic(), reference = policy.clone();
    ngram_scorer<double> model(small_scorer());
    rlhf_trainer frozen{policy, model, critic, frozen_reference(reference)};
    rlhf_trainer without{policy, model, critic, logit_reward{}};
    rlhf_options options = short_rlhf(1);
    options.sync_reference = true;
    const std::vector<double> before = parameters_of(critic);
    REQUIRE(contains(message_of<option_error>([&] { frozen.run(options); }), "rlhf_trainer: sync_reference"));
    REQUIRE(contains(message_of<option_error>([&] { without.run(options); }), "rlhf_trainer: sync_reference"));
    options.reference.mix = 0;
    REQUIRE(contains(message_of<option_error>([&] { frozen.run(options); }), "reference_sync: .mix"));
    REQUIRE(same_bits(before, parameters_of(critic)));
}
