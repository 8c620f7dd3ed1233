#include "models/enumeration.hpp"
#include "rlgaf/policy_gradient/advantage/remax.hpp"
#include "rlgaf/training/adversarial_trainer.hpp"
#include "rlgaf/training/row_choice.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

/// Rows that the policy trains on: groups that teach something, and PF-PPO's resampling.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using table = ngram_policy<double>;
using batch = token_batch<double>;

/// Pays rows that begin with 1: many groups of four are of one opinion.
const auto first_is_one = [](const batch& b, std::size_t i) { return b.row(i)[0] == 1 ? 1.0 : 0.0; };

/// A round that is rolled out and paid.
struct paid_round {
    table policy;
    trajectories<table> t;

    explicit paid_round(std::size_t rows_wanted = 32, rng_key key = {3, 0}) : policy(small_policy()) {
        roll_out(policy, no_prompts{}, {.rows = rows_wanted, .group_size = 4}, key, t);
        true_reward judge{first_is_one};
        score(judge, t);
        part stage{logit_reward{}};
        shape(stage, t);
    }
    /// The gradient of one step with the given components.
    template <class... C>
    std::pair<std::vector<double>, policy_update_report> step(C... components) {
        const std::vector<double> before = parameters_of(policy);
        part advantage{grpo{.group_size = 4}};
        part loss{ppo_clip{}};
        std::tuple<part<C>...> parts(part<C>{components}...);
        const policy_update_report report = std::apply(
            [&](auto&... p) {
                return update_policy(policy, t, {.step = {.learning_rate = 1, .max_norm = 1e9}}, {1, 0}, advantage,
                                     loss, p...);
            },
            parts);
        std::vector<double> moved = parameters_of(policy);
        for (std::size_t i = 0; i < moved.size(); ++i) moved[i] -= before[i];
        return {moved, report};
    }
};

struct kept_rows {
    std::vector<batch> rounds;
    std::vector<round_report> reports;
    void on_rollout(const round_report&, const batch& b) { rounds.push_back(b); }
    void on_round(const round_report& r) { reports.push_back(r); }
};

}  // namespace

TEST_CASE("informative_groups in update_policy: rows of other groups do not dilute the mean", "[training]") {
    paid_round all, some;
    std::size_t informative = 0;
    for (std::size_t g = 0; g < 8; ++g) {
        double paid = 0;
        for (std::size_t i = 0; i < 4; ++i) paid += first_is_one(all.t.batch, 4 * g + i);
        informative += paid > 0 && paid < 4;
    }
    REQUIRE((informative > 0 && informative < 8));
    double tokens = 0, taught = 0;
    for (std::size_t i = 0; i < 32; ++i) {
        double paid = 0;
        for (std::size_t k = 0; k < 4; ++k) paid += first_is_one(all.t.batch, i / 4 * 4 + k);
        tokens += lengths(all.t.batch)[i];
        if (paid > 0 && paid < 4) taught += lengths(all.t.batch)[i];
    }
    const auto [whole, whole_report] = all.step();
    const auto [chosen, report] = some.step(informative_groups{});
    REQUIRE(whole_report.chosen_rows != whole_report.chosen_rows);
    REQUIRE(report.chosen_rows == static_cast<double>(4 * informative));
    std::vector<double> scaled = whole;  // other groups have no gradient: only the count of tokens differs
    for (double& x : scaled) x *= tokens / taught;
    REQUIRE(relative_gap(scaled, chosen) < 1e-12);
}

TEST_CASE("informative_groups: a round that teaches nothing takes no step", "[training]") {
    paid_round r;
    for (std::size_t i = 0; i < 32; ++i) r.t.reward.add_outcome("same")[i] = 0;
    r.t.reward.begin(lengths(r.t.batch));
    const std::span<double> same = r.t.reward.add_outcome("same");
    std::fill(same.begin(), same.end(), 2.0);
    const std::vector<double> before = parameters_of(r.policy);
    const auto [moved, report] = r.step(informative_groups{}, entropy_bonus{.coefficient = 0.1});
    REQUIRE(report.steps == 0);
    REQUIRE(report.chosen_rows == 0);
    REQUIRE(same_bits(parameters_of(r.policy), before));
}

TEST_CASE("resample_rows in update_policy: the step is that of the drawn rows, by hand", "[training]") {
    paid_round r, by_hand;
    std::vector<double> total(32);
    for (std::size_t i = 0; i < 32; ++i) total[i] = first_is_one(r.t.batch, i);
    workspace work;
    std::vector<std::size_t> pick;
    resample_rows{}(std::span<const double>(total), rng_key{1, 0}, work, pick);
    REQUIRE(pick.size() == 32);

    const auto [moved, report] = r.step(resample_rows{});
    REQUIRE(report.chosen_rows == 32);

    // The same rows, taken out before the update.
    ragged_buffer<double> advantages;
    advantages.assign(lengths(by_hand.t.batch));
    part advantage{grpo{.group_size = 4}};
    advantage(by_hand.t.earned(), by_hand.t.work, advantages.view());
    const batch drawn = select(by_hand.t.batch, pick);
    ragged_buffer<double> log_prob, old, paid, d;
    for (ragged_buffer<double>* b : {&log_prob, &old, &paid, &d}) b->assign(lengths(drawn));
    detail::gather(std::as_const(by_hand.t.old_log_prob).view(), std::span<const std::size_t>(pick), lengths(drawn),
                   old);
    detail::gather(std::as_const(advantages).view(), std::span<const std::size_t>(pick), lengths(drawn), paid);
    auto tape = by_hand.policy.forward(drawn, {.log_prob = log_prob.view()});
    double tokens = 0;
    for (const std::uint32_t n : lengths(drawn)) tokens += n;
    const std::vector<double> weight(32, 1 / tokens);
    const policy_terms<double> terms{.log_prob = std::as_const(log_prob).view(),
                                     .old_log_prob = std::as_const(old).view(),
                                     .advantage = std::as_const(paid).view()};
    ppo_clip{}(terms, std::span<const double>(weight), d.view());
    const std::vector<double> before = parameters_of(by_hand.policy);
    by_hand.policy.backward(std::move(tape), {.d_log_prob = std::as_const(d).view()});
    by_hand.policy.step({.learning_rate = 1, .max_norm = 1e9});
    std::vector<double> expected = parameters_of(by_hand.policy);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= before[i];
    REQUIRE(relative_gap(expected, moved) < 1e-12);
}

TEST_CASE("dynamic sampling: dropped groups are replaced, whole groups only, all of which teach", "[training]") {
    table policy(small_policy(adamw{}));
    true_reward judge{first_is_one};
    adversarial_trainer trainer{policy, judge, no_experts, grpo{.group_size = 4}, informative_groups{}};
    adversarial_options options = short_run(3, 0.01);
    options.rows = 32;
    options.sampling_attempts = 20;
    kept_rows kept;
    trainer.run(options, kept);
    for (std::size_t r = 0; r < 3; ++r) {
        const batch& b = kept.rounds[r];
        REQUIRE(rows(b) == 32);
        for (std::size_t g = 0; g < 8; ++g) {
            double paid = 0;
            for (std::size_t i = 0; i < 4; ++i) paid += first_is_one(b, 4 * g + i);
            REQUIRE((paid > 0 && paid < 4));
        }
        REQUIRE(kept.reports[r].chosen_rows == 32);
        REQUIRE(kept.reports[r].sampling_attempts > 1);
        REQUIRE(kept.reports[r].informative_share < 1);
        REQUIRE(kept.reports[r].constant_reward_share == 0);
    }
}

TEST_CASE("dynamic sampling: too few attempts make a smaller round; without any lesson nothing is learnt",
          "[training]") {
    const auto run = [](auto reward, std::size_t attempts) {
        table policy(small_policy());
        true_reward judge{reward};
        adversarial_trainer trainer{policy, judge, no_experts, grpo{.group_size = 4}, informative_groups{}};
        adversarial_options options = short_run(1);
        options.rows = 64;
        options.sampling_attempts = attempts;
        kept_rows kept;
        const std::vector<double> before = parameters_of(policy);
        trainer.run(options, kept);
        return std::tuple(rows(kept.rounds[0]), kept.reports[0], same_bits(parameters_of(policy), before));
    };
    const auto rare = [](const batch& b, std::size_t i) { return b.row(i).size() > 3 && b.row(i)[3] == 1 ? 1.0 : 0.0; };
    const auto [n, report, unmoved] = run(rare, 2);
    INFO("rows " << n);
    REQUIRE((n > 0 && n < 64 && n % 4 == 0));
    REQUIRE(report.sampling_attempts == 2);
    REQUIRE(report.informative_share == Approx(static_cast<double>(n) / 128));
    REQUIRE(!unmoved);

    const auto [all, nothing, still] = run([](const batch&, std::size_t) { return 1.0; }, 3);
    REQUIRE((all == 64 && still));
    REQUIRE(nothing.informative_share == 0);
    REQUIRE(nothing.chosen_rows != nothing.chosen_rows);  // all advantages are zero: nobody was asked
}

TEST_CASE("dynamic sampling: prompts and their experts stay with their rows", "[training]") {
    using asked = ngram_policy<double, token_prompts>;
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
    struct oracle {
        std::vector<token_prompts> seen;
        batch answers(const token_prompts& p, rng_key) {
            seen.push_back(p);
            batch b;
            for (std::size_t i = 0; i < rows(p); ++i) {
                const std::int32_t row[] = {p.row(i)[0] - 2, 0};
                b.add(row, row_end::terminated);
                b.prompt.add(p.row(i));
            }
            return b;
        }
    } experts;
    const std::size_t group_size = GENERATE(std::size_t{0}, std::size_t{4});
    const std::size_t per_prompt = group_size == 0 ? 1 : group_size;
    const ngram_policy_options shape{.shape = {.vocabulary = 5, .order = 2}, .max_length = 4, .initial_spread = 0.5};
    asked policy(shape);
    ngram_scorer<double> judge({.shape = {.vocabulary = 5, .order = 2}});
    adversarial_trainer trainer{policy,
                                judge,
                                experts,
                                prompts_from(source),
                                grpo{.group_size = group_size},
                                informative_groups{},
                                as_reward("right", [](const batch& b, std::size_t i) {
                                    return b.row(i)[0] == b.prompt.row(i)[0] - 2 ? 1.0 : 0.0;
                                })};
    adversarial_options options = short_run(1);
    options.rows = 32;
    options.sampling_attempts = 30;
    kept_rows kept;
    trainer.run(options, kept);
    REQUIRE(rows(kept.rounds[0]) == 32);
    const token_prompts& last = experts.seen.back();
    REQUIRE(rows(last) == 32 / per_prompt);
    for (std::size_t i = 0; i < 32; ++i) REQUIRE(kept.rounds[0].prompt.row(i)[0] == last.row(i / per_prompt)[0]);
}

TEST_CASE("dynamic sampling: a smaller round has greedy answers to its own rows", "[training]") {
    table policy(small_policy());
    true_reward judge{
        [](const batch& b, std::size_t i) { return b.row(i).size() > 3 && b.row(i)[3] == 1 ? 1.0 : 0.0; }};
    adversarial_trainer trainer{policy, judge, no_experts, remax{.group_size = 4}, informative_groups{}};
    adversarial_options options = short_run(1);
    options.rows = 64;
    options.sampling_attempts = 2;
    trainer.run(options);
    const std::size_t n = rows(trainer.last_round().batch);
    REQUIRE((n > 0 && n < 64));
    REQUIRE(trainer.last_round().greedy_reward.size() == n);
}

/// Pays no row that begins with 2.
const auto paid_sometimes = as_reward(
    "sometimes", [](const batch& b, std::size_t i) { return b.row(i)[0] == 2 ? not_a_number : first_is_one(b, i); });

TEST_CASE("dynamic sampling: rows without a reward, memory, old log-probs anew and micro-batches", "[training]") {
    const auto trained = [](bool recompute, std::size_t micro) {
        players<double> p(adamw{});
        adversarial_trainer trainer{p.policy,
                                    p.discriminator,
                                    p.experts,
                                    grpo{.group_size = 4},
                                    informative_groups{},
                                    pipeline{paid_sometimes, running_normalize{}}};
        adversarial_options options = short_run(4, 0.02);
        options.rows = 32;
        options.sampling_attempts = 6;
        options.recompute_old = recompute;
        options.micro_batch_rows = options.policy.micro_batch_rows = micro;
        kept_rows kept;
        trainer.run(options, kept);
        std::size_t unpaid = 0;
        for (std::size_t r = 0; r < 4; ++r) {
            REQUIRE((kept.reports[r].sampling_attempts > 1 && kept.reports[r].chosen_rows == 32));
            for (std::size_t i = 0; i < 32; ++i) unpaid += kept.rounds[r].row(i)[0] == 2;
        }
        REQUIRE(unpaid > 0);
        REQUIRE(finite(p.parameters()));
        return p.parameters();
    };
    const std::vector<double> plain = trained(false, 0);
    REQUIRE(relative_gap(plain, trained(true, 0)) < 1e-12);
    REQUIRE(relative_gap(plain, trained(false, 5)) < 1e-12);
}

TEST_CASE("sample_informative: a round as after roll_out, and a stage's memory as before", "[training]") {
    players<double> p;
    part stage{pipeline{paid_sometimes, running_normalize{}}};
    trajectories<table> t;
    const roll_out_options options{.rows = 32, .group_size = 4};
    dynamic_sampling_report done;
    sample_informative(p.policy, informative_groups{}, 6, options, {1, 0}, stage, t, done, [&](rng_key own) {
        roll_out(p.policy, no_prompts{}, options, own, t);
        score(p.discriminator, t);
        return no_prompts{};
    });
    REQUIRE(done.attempts > 1);
    REQUIRE((rows(t.batch) == 32 && t.reward.outcomes() == 0 && t.score.empty()));
    REQUIRE(std::get<1>(stage.memory.stage).outcome.empty());
    score(p.discriminator, t);
    shape(stage, t);
    REQUIRE(std::get<1>(stage.memory.stage).outcome.size() == 1);
}

TEST_CASE("dynamic sampling: attempts that nobody would make are refused", "[training]") {
    players<double> p;
    adversarial_options options = short_run(1);
    options.sampling_attempts = 2;
    adversarial_trainer none{p.policy, p.discriminator, p.experts};
    REQUIRE(contains(message_of<option_error>([&] { none.run(options); }), "sampling_attempts"));
    adversarial_trainer rows_only{p.policy, p.discriminator, p.experts, resample_rows{}};
    REQUIRE(contains(message_of<option_error>([&] { rows_only.run(options); }), "informative_groups"));
    REQUIRE(none.rounds_done() == 0);
}

TEST_CASE("informative_groups: answers that have no others beside them are refused", "[training]") {
    players<double> p;
    adversarial_trainer alone{p.policy, p.discriminator, p.experts, grpo{.group_size = 1}, informative_groups{}};
    REQUIRE(contains(message_of<option_error>([&] { alone.run(short_run(1)); }), "group_size"));
    table critic = table(small_policy());
    adversarial_trainer valued{p.policy, p.discriminator, p.experts, with_critic(critic), informative_groups{}};
    REQUIRE(contains(message_of<option_error>([&] { valued.run(short_run(1)); }), "group_size"));
    adversarial_trainer whole{p.policy, p.discriminator, p.experts, grpo{.group_size = 0}, informative_groups{}};
    REQUIRE(whole.run(short_run(1)).chosen_rows == 16);
}
