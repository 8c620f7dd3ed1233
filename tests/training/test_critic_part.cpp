#include "rlgaf/policy_gradient/advantage/vtrace.hpp"
#include "rlgaf/training/critic_part.hpp"
#include "rlgaf/training/rlhf.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

/// A critic beside a discriminator that learns, and a reward model that does not.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using table = ngram_policy<double>;

table table_critic() { return table({.shape = {.vocabulary = 4, .order = 3}, .max_length = 5, .optimizer = adamw{}}); }
adversarial_options with_critic_run(std::size_t rounds) {
    adversarial_options o = short_run(rounds, 0.05);
    o.rows = 64;
    o.critic_warmup = 0;
    o.critic.step.learning_rate = 0.1;
    return o;
}

/// What the policy gives the demonstrations, all of them together.
double share_of(table& policy, const token_batch<double>& shown) {
    ragged_buffer<double> log_prob;
    log_prob.assign(lengths(shown));
    policy.evaluate(shown, {.log_prob = log_prob.view()});
    double p = 0;
    for (std::size_t i = 0; i < rows(shown); ++i) p += std::exp(sum(std::span<const double>(log_prob.view().row(i))));
    return p;
}

}  // namespace

TEST_CASE("critic: PPO with a critic against a discriminator that learns finds the demonstrations", "[training]") {
    players<double> p{adamw{}};
    table critic = table_critic();
    const auto shown = players<double>{}.experts.sample(6, {1, 0});  // each once
    const double before = share_of(p.policy, shown);
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, with_critic(critic), gae{}, ppo_clip{}};
    keep_reports kept;
    trainer.run(with_critic_run(300), kept);
    double explained = 0;
    for (std::size_t i = 200; i < 300; ++i) explained += kept.reports[i].explained_variance / 100;
    INFO("share " << before << " -> " << share_of(p.policy, shown) << ", explained " << explained);
    CHECK(share_of(p.policy, shown) > 4 * before);
    CHECK(explained > 0.1);
    CHECK(kept.reports.back().critic_steps == 16);
    CHECK(kept.reports.back().discriminator_steps == 1);
    CHECK(kept.reports.back().value_loss > 0);
}

TEST_CASE("critic: without an advantage estimator the default is gae", "[training]") {
    const auto trained = [](auto... advantage) {
        players<double> p;
        table critic = table_critic();
        adversarial_trainer{p.policy, p.discriminator, p.experts, with_critic(critic), advantage...}.run(
            with_critic_run(4));
        std::vector<double> all = p.parameters();
        for (const double x : parameters_of(critic)) all.push_back(x);
        return all;
    };
    REQUIRE(finite(trained()));
    REQUIRE(same_bits(trained(), trained(gae{})));
    REQUIRE(!same_bits(trained(), trained(gae{.lambda = 0.5})));
    REQUIRE(finite(trained(vtrace{})));
}

TEST_CASE("critic: by hand, role by role, it is the trainer's round", "[training]") {
    players<double> p, q;
    table critic = table_critic(), critic_too = table_critic();
    adversarial_options options = with_critic_run(3);
    options.critic_warmup = 1;
    options.replay_fraction = 0;
    adversarial_trainer{p.policy, p.discriminator, p.experts, with_critic(critic)}.run(options);

    trajectories<table> t;
    part advantage{gae{}};
    part loss{ppo_clip{}};
    part reward{logit_reward{}};
    part judge{bradley_terry{}};
    for (std::uint32_t round = 0; round < 3; ++round) {
        const rng_key key{options.seed, round};
        roll_out(q.policy, no_prompts{}, {.rows = options.rows, .group_size = 1}, key, t);
        const auto real = q.experts.sample(options.rows, key);
        score(q.discriminator, t);
        shape(reward, t);
        evaluate_values(critic_too, t);
        if (round == 0)
            estimate_returns(t, advantage);
        else
            update_policy(q.policy, t, options.policy, key, advantage, loss);
        update_critic(critic_too, t, options.critic, key);
        // The trainer's step sees the same pairs in an order of its own.
        discriminator_feed<token_batch<double>> feed;
        feed.real = real;
        feed.matched.resize(options.rows);
        count_up(std::span(feed.matched));
        discriminator_scratch<double> scratch;
        const auto& step = feed.next(t.batch, options, key, 0);
        update_discriminator(q.discriminator, step.real, step.fake, {step.pairs}, options.discriminator, judge, scratch,
                             key);
    }
    REQUIRE(same_bits(p.parameters(), q.parameters()));
    REQUIRE(same_bits(parameters_of(critic), parameters_of(critic_too)));
}

TEST_CASE("critic: in its warm-up the policy stands still, and critic and discriminator learn", "[training]") {
    players<double> p;
    table critic = table_critic();
    const std::vector<double> policy = parameters_of(p.policy), judge = parameters_of(p.discriminator),
                              value = parameters_of(critic);
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, with_critic(critic)};
    adversarial_options options = with_critic_run(2);
    options.critic_warmup = 2;
    trainer.run(options);
    REQUIRE(same_bits(parameters_of(p.policy), policy));
    REQUIRE(!same_bits(parameters_of(p.discriminator), judge));
    REQUIRE(!same_bits(parameters_of(critic), value));
    trainer.run(options);
    REQUIRE(!same_bits(parameters_of(p.policy), policy));
}

TEST_CASE("critic: a gate that rests the policy rests neither critic nor discriminator", "[training]") {
    players<double> p;
    table critic = table_critic();
    const std::vector<double> policy = parameters_of(p.policy);
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, with_critic(critic),
                                accuracy_gate{.high = 1, .low = 0.99}};
    keep_reports kept;
    trainer.run(with_critic_run(3), kept);
    for (const round_report& r : kept.reports)
        REQUIRE((r.policy_steps == 0 && r.critic_steps == 16 && r.discriminator_steps == 1));
    REQUIRE(same_bits(parameters_of(p.policy), policy));
    // Its targets are those of gae: at a row's end, what the row earned.
    const auto& t = trainer.last_round();
    REQUIRE(t.returns.flat().size() > 0);
    for (std::size_t i = 0; i < rows(t.batch); ++i)
        if (t.batch.length[i] > 0)
            REQUIRE(t.returns.view().row(i).back() == Approx(std::clamp(t.score[i], -10.0, 10.0)));
}

TEST_CASE("no_experts: a reward model that does not learn, and the loop of rlhf_trainer", "[training]") {
    players<double> p, q;
    table critic = table_critic(), critic_too = table_critic();
    const std::vector<double> judge = parameters_of(p.discriminator), policy = parameters_of(p.policy);
    adversarial_options options = with_critic_run(3);
    const round_report last =
        adversarial_trainer{p.policy, p.discriminator, no_experts, with_critic(critic), logit_reward{}}.run(options);
    REQUIRE(same_bits(parameters_of(p.discriminator), judge));
    REQUIRE(!same_bits(parameters_of(p.policy), policy));
    REQUIRE(last.discriminator_steps == 0);
    REQUIRE(last.accuracy != last.accuracy);  // nobody to tell apart

    rlhf_options same{.rounds = 3, .rows = options.rows, .policy = options.policy, .critic = options.critic};
    same.critic_warmup = 0;
    rlhf_trainer{q.policy, q.discriminator, critic_too, logit_reward{}}.run(same);
    REQUIRE(same_bits(p.parameters(), q.parameters()));
    REQUIRE(same_bits(parameters_of(critic), parameters_of(critic_too)));
}

TEST_CASE("sync_reference: the adversarial trainer's reference follows, and asks for one that can", "[training]") {
    const auto kl = [](bool sync) {
        players<double> p;
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, pipeline{logit_reward{}, kl_penalty{}}};
        adversarial_options options = short_run(6);
        options.sync_reference = sync;
        options.reference = {.mix = 1, .every = 1};
        return trainer.run(options).kl_reference_per_row;
    };
    REQUIRE(std::abs(kl(false)) > 1e-6);
    REQUIRE(kl(true) == Approx(0).margin(1e-12));

    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts};
    adversarial_options options = short_run(1);
    options.sync_reference = true;
    REQUIRE(contains(message_of<option_error>([&] { trainer.run(options); }),
                     "rlgaf::adversarial_trainer: sync_reference"));
    REQUIRE(trainer.rounds_done() == 0);
}
