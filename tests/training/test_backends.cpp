#include "support/catch.hpp"
#include "training/small_language.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

#include "rlgaf/models/lstm_policy.hpp"
#include "rlgaf/models/lstm_scorer.hpp"
#include "rlgaf/models/point_mass.hpp"
#include "rlgaf/models/two_turn.hpp"

/// Backends of four makes through the same trainer: a table, a table with a tool, a Gaussian policy in a world, and a
/// recurrent net.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

bool all_finite(const round_report& r) {
    return r.discarded_steps == 0 && first_nonfinite(std::span(&r.policy_grad_norm, 1)) == 1 &&
           first_nonfinite(std::span(&r.discriminator_grad_norm, 1)) == 1 &&
           first_nonfinite(std::span(&r.entropy_sampled, 1)) == 1 && first_nonfinite(std::span(&r.policy_loss, 1)) == 1;
}

}  // namespace

TEST_CASE("backends: a table learns a small language", "[training]") {
    const ngram_policy_options options{.shape = {.vocabulary = 4, .order = 2}, .max_length = 4, .optimizer = adamw{}};
    ngram_policy_options expert_options = options;
    expert_options.initial_spread = 1.5;
    expert_options.seed = 3;
    ngram_policy<double> expert(expert_options), policy(options);
    const std::vector<double> wanted = enumerate(expert).probability;  // rows come in the same order for both
    const auto distance = [&] {
        const std::vector<double> now = enumerate(policy).probability;
        double sum = 0;
        for (std::size_t i = 0; i < now.size(); ++i) sum += 0.5 * std::abs(now[i] - wanted[i]);
        return sum;
    };
    demonstrations experts{expert.rollout({}, ids(2000), {}, {.seed = 77})};
    ngram_scorer<double> discriminator({.shape = {.vocabulary = 4, .order = 2}, .optimizer = adamw{}});
    adversarial_trainer trainer{policy, discriminator, experts, rloo{.group_size = 0}, bce{}};
    auto run = short_run(500, 0.01);
    run.rows = 128;
    run.discriminator.step.learning_rate = 0.05;
    run.replay_fraction = 0;
    const double before = distance();
    const round_report r = trainer.run(run);
    INFO("total variation " << before << " -> " << distance());
    CHECK(all_finite(r));
    CHECK(before > 0.3);
    CHECK(distance() < 0.25 * before);
}

TEST_CASE("backends: a policy with a tool learns to answer what the tool said", "[training]") {
    // The tool replies with token 2 or 3; the answer is to repeat it. Nobody can know the reply beforehand.
    two_turn_policy<double> policy(
        {.model = {.shape = {.vocabulary = 4, .order = 3}, .max_length = 6, .optimizer = adamw{}}, .max_query = 1},
        lookup_tool{.noise = 1});
    ngram_scorer<double> discriminator({.shape = {.vocabulary = 4, .order = 3}, .mean = true, .optimizer = adamw{}});
    struct {
        token_prompts sample(std::size_t n, rng_key) const {
            token_prompts p;
            for (std::size_t i = 0; i < n; ++i) p.add(std::vector<std::int32_t>{static_cast<std::int32_t>(i % 2)});
            return p;
        }
        token_batch<double> answers(const token_prompts& p, rng_key key) const {
            token_batch<double> b;
            const std::uint8_t mask[] = {1, 0, 1, 1};
            for (std::size_t i = 0; i < rows(p); ++i) {
                const std::int32_t reply = random_stream(key, stream::experts, i).uniform(0) < 0.5 ? 2 : 3;
                const std::int32_t row[] = {1, reply, reply, 0};
                b.add(row, row_end::terminated, {}, 1, mask);
            }
            b.prompt = p;
            return b;
        }
    } world;
    const auto right = [&] {
        const auto b = policy.rollout(world.sample(400, {}), ids(400), {}, {.seed = 99});
        double n = 0;
        for (std::size_t i = 0; i < rows(b); ++i) {
            const auto row = b.row(i);
            n += row.size() == 4 && row[0] == 1 && row[2] == row[1] && row[3] == 0;
        }
        return n / 400;
    };
    adversarial_trainer trainer{policy,
                                discriminator,
                                world,
                                prompts_from(world),
                                grpo{.group_size = 4},
                                pipeline{logit_reward{}, kl_penalty{.beta = 0.01}},
                                kl_loss{.beta = 0.001},
                                entropy_bonus{.coefficient = 0.001}};
    auto run = short_run(150, 0.05);
    run.rows = 64;
    run.policy.micro_batch_rows = 24;
    keep_reports kept;
    const double before = right();
    trainer.run(run, kept);
    INFO("right answers " << before << " -> " << right());
    CHECK(before < 0.05);
    CHECK(right() > 0.9);
    // The log-prob of a reply is NaN: whoever reads it shows.
    std::size_t masked = 0;
    const auto& b = trainer.last_round().batch;
    for (std::size_t k = 0; k < b.token.size(); ++k) {
        masked += !b.mask[k];
        REQUIRE(is_nan(&b.log_prob[k]) == !b.mask[k]);
    }
    CHECK(masked > 32);
    CHECK(finite(parameters_of(policy)));
    CHECK(finite(parameters_of(discriminator)));
    for (const round_report& r : kept.reports) {
        REQUIRE(all_finite(r));
        REQUIRE(!is_nan(&r.reward_mean));
        REQUIRE(!is_nan(&r.kl_reference_per_token));
        REQUIRE(!is_nan(&r.kl_old_k3));
    }
}

TEST_CASE("backends: a point mass imitates its expert, in rows that terminate and rows that are cut off",
          "[training]") {
    point_mass_policy<double> policy({});
    point_mass_scorer<double> discriminator({});
    point_mass_expert<double> expert;
    struct returns {
        double mean = 0, error = 0, truncated = 0;
    };
    const auto judge = [](const point_mass_batch<double>& b) {
        std::vector<double> r;
        returns out;
        for (std::size_t i = 0; i < rows(b); ++i) {
            r.push_back(b.true_return(i));
            out.truncated += b.end[i] == row_end::truncated;
        }
        const moments m = moments_of(r);
        out.mean = m.mean;
        out.error = m.deviation() / std::sqrt(m.count);
        return out;
    };
    const auto rolled = [&] { return judge(policy.rollout({}, ids(200), {}, {.seed = 5})); };
    const returns wanted = judge(expert.sample(200, {.seed = 6})), before = rolled();
    adversarial_trainer trainer{policy, discriminator, expert, reinforce{}, bce{}};
    auto run = short_run(120, 0.02);
    run.rows = 32;
    run.discriminator_warmup = 10;
    const round_report r = trainer.run(run);
    const returns after = rolled();
    INFO("return " << before.mean << " -> " << after.mean << ", expert " << wanted.mean << "; cut off "
                   << before.truncated << " -> " << after.truncated << " of 200");
    CHECK(all_finite(r));
    CHECK(before.truncated > 100);
    CHECK(after.truncated < before.truncated);
    CHECK(after.mean - before.mean > 5 * std::hypot(before.error, after.error));
    CHECK(wanted.mean - after.mean < 0.2 * (wanted.mean - before.mean));
}

TEST_CASE("backends: a small LSTM learns a pattern of three letters", "[training]") {
    lstm_policy<float> policy({.vocabulary = 4, .embedding = 8, .hidden = 16, .max_length = 6, .seed = 1});
    lstm_scorer<float> discriminator({.vocabulary = 4, .embedding = 8, .hidden = 16, .seed = 2});
    demonstrations experts{rows_of<float>({{1, 2, 3, 0}})};
    const auto share = [&] {
        const auto b = policy.rollout({}, ids(400), {}, {.seed = 9});
        double n = 0;
        for (std::size_t i = 0; i < rows(b); ++i) {
            const auto row = b.row(i);
            n += row.size() == 4 && row[0] == 1 && row[1] == 2 && row[2] == 3;
        }
        return n / 400;
    };
    adversarial_trainer trainer{
        policy, discriminator, experts, rloo{.group_size = 0}, bce{}, entropy_bonus{.coefficient = 0.02}};
    auto run = short_run(150, 0.02);
    run.rows = 64;
    run.discriminator.step.learning_rate = 0.005;  // or it is sure before the policy has found anything
    const double before = share();
    const round_report r = trainer.run(run);
    INFO("pattern " << before << " -> " << share());
    CHECK(all_finite(r));
    CHECK(before < 0.1);
    CHECK(share() > 0.8);
}

#ifdef _OPENMP
TEST_CASE("backends: LSTM training hardly depends on the number of threads", "[training]") {
    const auto trained = [](int threads) {
        const int before = omp_get_max_threads();
        omp_set_num_threads(threads);
        lstm_policy<float> policy({.vocabulary = 12, .embedding = 8, .hidden = 16, .max_length = 12, .seed = 1});
        lstm_scorer<float> discriminator({.vocabulary = 12, .embedding = 8, .hidden = 16, .seed = 2});
        demonstrations experts{rows_of<float>({{1, 2, 3, 0}, {4, 5, 6, 7, 0}})};
        adversarial_trainer trainer{policy, discriminator, experts, rloo{.group_size = 0}, bce{}};
        auto run = short_run(3, 1e-3);
        run.rows = 512;
        const std::vector<double> first = parameters_of(policy);
        trainer.run(run);
        omp_set_num_threads(before);
        REQUIRE(relative_gap(first, parameters_of(policy)) > 1e-3);
        std::vector<double> all = parameters_of(policy), more = parameters_of(discriminator);
        all.insert(all.end(), more.begin(), more.end());
        return all;
    };
    const std::vector<double> one = trained(1);
    REQUIRE(same_bits(one, trained(1)));
    const std::vector<double> two = trained(2);
    INFO("relative distance " << relative_gap(one, two));
    REQUIRE(same_bits(two, trained(2)));
    REQUIRE(!same_bits(one, two));  // two threads were at work
    REQUIRE(relative_gap(one, two) < 1e-5);
}
#endif
