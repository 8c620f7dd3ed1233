// Each alarm is provoked by a real training run; one healthy run stays silent.
#include "rlgaf/training/health.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {

void say_nothing(const char*) {}

using policy_d = ngram_policy<double>;
using scorer_d = ngram_scorer<double>;

/// A run of the small language with Adam on both sides; 16 rows a round.
struct run_of {
    policy_d policy{small_policy(adamw{})};
    scorer_d scorer{small_scorer(adamw{})};
    demonstrations<token_batch<double>> experts{
        rows_of<double>({{1, 2, 3, 0}, {1, 2, 0}, {2, 3, 0}, {1, 2, 3, 3, 0}, {3, 0}, {2, 2, 3, 0}})};
    adversarial_options options = short_run(120, 0.02);
    health_monitor health{{}, say_nothing};

    template <class... C>
    void go(C... components) {
        options.rows = 64;
        adversarial_trainer trainer{policy, scorer, experts, components...};
        trainer.run(options, health);
    }
    template <class F, class... C>
    void go_for(F reward, C... components) {
        options.rows = 64;
        true_reward truth(reward);
        adversarial_trainer trainer{policy, truth, no_experts, components...};
        trainer.run(options, health);
    }
};

auto kl_penalty_in(double beta) {
    return pipeline{logit_reward{}, kl_penalty{.beta = beta}, missing_eos{.penalty = 1}};
}

}  // namespace

TEST_CASE("a healthy run raises no alarm") {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        run_of r;
        r.options.seed = seed;
        const auto held = rows_of<double>({{1, 2, 3, 0}, {2, 3, 0}, {1, 2, 0}, {3, 0}});
        const auto shown = rows_of<double>({{1, 2, 3, 3, 0}, {2, 2, 3, 0}});
        r.health.knows(shown);
        r.go(kl_penalty_in(0.02), held_out_experts(held));
        for (const auto& a : r.health.alarms())
            FAIL_CHECK("seed " << seed << ", round " << a.round << ": " << explain(a.what));
    }
}

TEST_CASE("alarm: the discriminator wins against a policy that cannot follow") {
    run_of r;
    r.experts = demonstrations{rows_of<double>({{3, 3, 3, 3, 0}})};
    r.options.policy.step.learning_rate = 1e-9;
    r.options.discriminator.step.learning_rate = 0.1;
    r.go();
    REQUIRE(r.health.has(alarm::discriminator_wins));
    REQUIRE(!r.health.has(alarm::discriminator_gives_up));
}

TEST_CASE("alarm: the discriminator has given up where it never learns") {
    run_of r;
    r.scorer = scorer_d({.shape = {.vocabulary = 4, .order = 2}});  // all scores are 0, and stay so
    r.options.discriminator_updates = 0;
    r.go(accuracy_gate{});
    REQUIRE(r.health.has(alarm::discriminator_gives_up));
    REQUIRE(!r.health.has(alarm::discriminator_wins));
}

TEST_CASE(
    "alarm: a discriminator that guesses has given up, however lucky single rounds are; one that learns has not") {
    const auto given_up = [](std::uint64_t seed, double accuracy) {
        health_monitor health{{}, say_nothing};
        dice d(seed);
        for (std::size_t i = 1; i <= 100; ++i) {
            double right = 0;
            for (int pair = 0; pair < 256; ++pair) right += d.chance(accuracy);
            health.on_round(round_report{.round = i, .accuracy = right / 256});
        }
        return health.has(alarm::discriminator_gives_up);
    };
    int guessing = 0, learning = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        guessing += given_up(seed, 0.5);
        learning += given_up(seed, 0.58);
    }
    REQUIRE(guessing == 200);
    REQUIRE(learning == 0);
}

TEST_CASE("alarm: the discriminator's reward has collapsed, whatever other rewards vary") {
    run_of r;
    r.options.discriminator.step.learning_rate = 0;
    r.go_for([](const token_batch<double>&, std::size_t) { return 50.0; },
             pipeline{logit_reward{.clip = 10}, kl_penalty{.beta = 0.05}, missing_eos{.penalty = 1}});
    REQUIRE(r.health.has(alarm::reward_collapse));
}

TEST_CASE("alarm: the discriminator overfits two demonstrations") {
    run_of r;
    r.experts = demonstrations{rows_of<double>({{1, 2, 3, 0}, {1, 2, 3, 3, 0}})};
    r.options.policy.step.learning_rate = 1e-9;
    r.options.discriminator.step.learning_rate = 0.1;
    r.options.held_out_every = 5;
    r.go(held_out_experts(rows_of<double>({{3, 2, 1, 0}, {2, 1, 3, 0}, {3, 1, 0}, {2, 0}})));
    REQUIRE(r.health.has(alarm::discriminator_overfits));
}

TEST_CASE("alarm: a reward that is the same for all has collapsed") {
    run_of r;
    r.go_for([](const token_batch<double>&, std::size_t) { return 1.0; });
    REQUIRE(r.health.has(alarm::reward_collapse));
    REQUIRE(r.health.alarms().size() == 1);
}

TEST_CASE("alarm: a policy that is paid for one text collapses to it") {
    run_of r;
    r.options.policy.step.learning_rate = 0.1;
    r.go_for([](const token_batch<double>& b, std::size_t i) {
        return b.row(i).size() == 2 && b.row(i)[0] == 1 ? 1.0 : 0.0;
    });
    REQUIRE(r.health.has(alarm::mode_collapse));
}

TEST_CASE("alarm: a policy that is paid by the token runs into the limit, and one that is charged falls silent") {
    run_of r;
    r.options.policy.step.learning_rate = 0.1;
    r.go_for([](const token_batch<double>& b, std::size_t i) { return 1.0 * b.length[i]; });
    REQUIRE(r.health.has(alarm::length_drift));
    run_of other;
    other.options.policy.step.learning_rate = 0.1;
    other.go_for([](const token_batch<double>& b, std::size_t i) { return -1.0 * b.length[i]; });
    REQUIRE(other.health.has(alarm::length_drift));
}

TEST_CASE("alarm: a policy that is paid for demonstrations recites them") {
    run_of r;
    r.options.policy.step.learning_rate = 0.1;
    const auto shown = rows_of<double>({{1, 2, 3, 0}, {2, 0}});
    r.health.knows(shown);
    r.go_for([](const token_batch<double>& b, std::size_t i) {
        const auto row = b.row(i);
        return (row.size() == 2 && row[0] == 2) || (row.size() == 4 && row[0] == 1 && row[1] == 2 && row[2] == 3) ? 1.0
                                                                                                                  : 0.0;
    });
    REQUIRE(r.health.has(alarm::memorisation));
}

TEST_CASE("alarm: a policy whose reference does not hold it runs away") {
    run_of r;
    r.options.policy.step.learning_rate = 0.2;
    r.go_for(
        [](const token_batch<double>& b, std::size_t i) {
            double ones = 0;
            for (const std::int32_t token : b.row(i)) ones += token == 1;
            return ones;
        },
        kl_penalty_in(0));
    REQUIRE(r.health.has(alarm::kl_runaway));
}

TEST_CASE("an alarm is raised once, says what helps, and needs the whole patience") {
    static std::vector<std::string> said;
    said.clear();
    health_monitor health{{.patience = 3}, [](const char* text) { said.push_back(text); }};
    for (std::size_t i = 1; i <= 12; ++i)
        health.on_round({.round = i, .accuracy = i == 3 ? 0.6 : 0.99, .length_mean = 4});
    REQUIRE(said.size() == 1);
    REQUIRE(contains(said[0], "round 6: the discriminator wins"));
    REQUIRE(contains(said[0], "accuracy_gate"));
    REQUIRE(health.alarms()[0].round == 6);
}

TEST_CASE("health_options are refused by name") {
    REQUIRE(refuses(health_options{.patience = 0}, "health_options", "patience"));
    REQUIRE(refuses(health_options{.winning_accuracy = 0.5}, "health_options", "winning_accuracy"));
    REQUIRE(refuses(health_options{.guessing_accuracy = 1}, "health_options", "guessing_accuracy"));
    REQUIRE(refuses(health_options{.overfit_gap = not_a_number}, "health_options", "overfit_gap"));
    REQUIRE(refuses(health_options{.constant_share = 0}, "health_options", "constant_share"));
    REQUIRE(refuses(health_options{.distinct_left = 1}, "health_options", "distinct_left"));
    REQUIRE(refuses(health_options{.truncated_share = -1}, "health_options", "truncated_share"));
    REQUIRE(refuses(health_options{.length_factor = 1}, "health_options", "length_factor"));
    REQUIRE(refuses(health_options{.memorised_share = 0}, "health_options", "memorised_share"));
    REQUIRE(refuses(health_options{.kl_per_token = not_a_number}, "health_options", "kl_per_token"));
}
