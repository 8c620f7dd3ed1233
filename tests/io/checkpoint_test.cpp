#include "rlgaf/io/checkpoint.hpp"

#include "rlgaf/backend/averaged_scorer.hpp"
#include "rlgaf/backend/pair_critic.hpp"
#include "rlgaf/models/cnn_scorer.hpp"
#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/lstm_critic.hpp"
#include "rlgaf/models/ngram.hpp"
#include "rlgaf/models/point_mass.hpp"
#include "rlgaf/models/two_turn.hpp"
#include "rlgaf/training/health.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<float>;

// Whatever has a hidden visit would be saved by its parameters alone.
static_assert(visited<lstm_policy<float>> && visited<lstm_scorer<float>> && visited<lstm_critic<double>> &&
              visited<cnn_scorer<float>> && visited<ngram_policy<double>> && visited<ngram_scorer<double>> &&
              visited<point_mass_policy<double>> && visited<point_mass_scorer<double>> &&
              visited<two_turn_policy<double>> && visited<demonstrations<batch>>);

/// A run with every kind of memory: moments, EMA, controllers, gate, spectral vectors, past samples, a clone, dropout.
struct long_run {
    lstm_policy<float> policy{{.vocabulary = 4, .embedding = 4, .hidden = 6, .end_token = 0, .max_length = 5}};
    lstm_scorer<float> discriminator{{.vocabulary = 4, .embedding = 4, .hidden = 6, .dropout = 0.3}};
    lstm_critic<float> critic{{.vocabulary = 4, .embedding = 4, .hidden = 6}};
    demonstrations<batch> experts{
        rows_of<float>({{1, 2, 3, 0}, {1, 2, 0}, {2, 3, 0}, {1, 2, 3, 3, 0}, {3, 0}, {2, 2, 3, 0}, {1, 1, 1}})};

    auto trainer() {
        return adversarial_trainer{
            policy,
            discriminator,
            experts,
            with_critic(critic),
            gae{},
            ppo_clip{},
            adaptive_entropy_bonus{},
            bce{},
            accuracy_gate{.high = 0.99, .low = 0.5},
            spectral_norm{.norm = 4},
            token_noise{.vocabulary = 4},
            shortcut_probe{},
            pipeline{logit_reward{}, running_normalize{}, ema_normalize{}, adaptive_kl_penalty{}}};
    }
    static adversarial_options options(std::size_t rounds, std::size_t done) {
        adversarial_options o;
        o.rounds = rounds;
        o.rows = 24;
        o.discriminator_warmup = 1;
        o.critic_warmup = 1;
        o.policy.minibatches = 2;
        o.policy_rate = {.shape = schedule_shape::linear, .to = 0.1, .steps = 6};
        o.critic.normalize_returns = true;
        o.sync_reference = true;
        o.reference = {.mix = 0.5, .every = 3};
        o.schedule_from = done;
        return o;
    }
    std::vector<double> parameters() {
        std::vector<double> all = parameters_of(policy);
        for (const double x : parameters_of(discriminator)) all.push_back(x);
        for (const double x : parameters_of(critic)) all.push_back(x);
        return all;
    }
};

/// A model that only has parameters.
struct three_numbers {
    using scalar = double;
    std::vector<double> x = {1, 2, 3}, g = {0, 0, 0};
    std::vector<parameter_block<double>> parameters() { return {{"x", {3}, x, g}}; }
};

/// Everything that the objects say of their state, as bits.
template <class... Objects>
std::vector<std::byte> state_of_all(Objects&... objects) {
    state_writer w;
    detail::visit_all(w, objects...);
    std::vector<std::byte> all;
    for (const tensor& t : w.entries) all.insert(all.end(), t.data.begin(), t.data.end());
    return all;
}

}  // namespace

TEST_CASE("checkpoint: a run that goes on in new objects gives the bits of one that was never interrupted", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "run" / "state.safetensors";
    long_run whole;
    auto uninterrupted = whole.trainer();
    uninterrupted.run(long_run::options(4, 0));
    uninterrupted.run(long_run::options(5, 4));
    {
        long_run first;
        auto trainer = first.trainer();
        trainer.run(long_run::options(4, 0));
        save_checkpoint(file, trainer, first.policy, first.discriminator, first.critic, first.experts);
    }
    long_run second;
    second.policy.optimizer_state().steps = 77;  // what is there does not matter
    auto trainer = second.trainer();
    load_checkpoint(file, trainer, second.policy, second.discriminator, second.critic, second.experts);
    REQUIRE(trainer.rounds_done() == 4);
    const round_report last = trainer.run(long_run::options(5, trainer.rounds_done()));
    REQUIRE((last.policy_steps > 0 && last.discriminator_steps > 0 && last.critic_steps > 0));
    REQUIRE(same_bits(whole.parameters(), second.parameters()));
    REQUIRE(state_of_all(uninterrupted, whole.policy, whole.discriminator, whole.critic, whole.experts) ==
            state_of_all(trainer, second.policy, second.discriminator, second.critic, second.experts));
}

TEST_CASE("checkpoint: tables, an RLHF run and its controller", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    using table = ngram_policy<double>;
    struct rlhf_run {
        table policy{small_policy(adamw{})}, critic{small_policy(sgd{.momentum = 0.5})};
        ngram_scorer<double> model{small_scorer()};
        static rlhf_options options(std::size_t rounds, std::size_t done) {
            rlhf_options o;
            o.rounds = rounds;
            o.rows = 24;
            o.critic_warmup = 1;
            o.critic_rate = {.shape = schedule_shape::linear, .to = 0, .steps = 7};
            o.schedule_from = done;
            return o;
        }
    } whole, first, second;
    rlhf_trainer uninterrupted{whole.policy, whole.model, whole.critic}, one{first.policy, first.model, first.critic},
        two{second.policy, second.model, second.critic};
    uninterrupted.run(rlhf_run::options(3, 0));
    uninterrupted.run(rlhf_run::options(3, 3));
    one.run(rlhf_run::options(3, 0));
    save_checkpoint(file, one, first.policy, first.critic);
    load_checkpoint(file, two, second.policy, second.critic);
    const round_report last = two.run(rlhf_run::options(3, 3));
    REQUIRE(last.kl_beta > 0);
    REQUIRE(state_of_all(uninterrupted, whole.policy, whole.critic) == state_of_all(two, second.policy, second.critic));
}

TEST_CASE("checkpoint: without one of the objects the run is another one", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    const auto after = [&](bool with_trainer, bool with_experts) {
        long_run first, second;
        auto one = first.trainer(), two = second.trainer();
        one.run(long_run::options(4, 0));
        save_checkpoint(file, first.policy, first.discriminator, first.critic);
        load_checkpoint(file, second.policy, second.discriminator, second.critic);
        if (with_trainer) {
            save_checkpoint(file, one);
            load_checkpoint(file, two);
        }
        if (with_experts) {
            save_checkpoint(file, first.experts);
            load_checkpoint(file, second.experts);
        }
        two.run(long_run::options(3, 4));
        one.run(long_run::options(3, 4));
        return same_bits(first.parameters(), second.parameters());
    };
    REQUIRE(after(true, true));
    REQUIRE(!after(false, true));
    REQUIRE(!after(true, false));
}

TEST_CASE("checkpoint: a file that does not fit is refused, and nothing is half loaded", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    lstm_policy<float> small({.vocabulary = 4, .embedding = 4, .hidden = 6, .end_token = 0, .max_length = 5}),
        large({.vocabulary = 4, .embedding = 4, .hidden = 7, .end_token = 0, .max_length = 5});
    cnn_scorer<float> cnn({.vocabulary = 4, .embedding = 4, .filters = 3, .widths = {2}});
    save_checkpoint(file, cnn, small);
    const auto refusal = [&](auto&... objects) {
        const std::vector<std::byte> before = state_of_all(objects...);
        const std::string message = message_of<file_error>([&] { load_checkpoint(file, objects...); });
        REQUIRE(state_of_all(objects...) == before);
        return message;
    };
    cnn_scorer<float> other({.vocabulary = 4, .embedding = 4, .filters = 3, .widths = {2}, .seed = 5});
    const std::string sizes = refusal(other, large);  // the first object fits
    REQUIRE(contains(sizes, file.string()));
    REQUIRE(contains(sizes, "entry '001."));
    REQUIRE(contains(sizes, "elements"));
    REQUIRE(contains(refusal(small, other), "entry '000."));
    REQUIRE(contains(refusal(other), "entries"));             // more in the file
    REQUIRE(contains(refusal(other, small, large), "none"));  // less
    lstm_policy<double> wide({.vocabulary = 4, .embedding = 4, .hidden = 6, .end_token = 0, .max_length = 5});
    REQUIRE(contains(refusal(other, wide), "F64"));

    save_parameters(file, small.parameters());
    REQUIRE(contains(refusal(small), "another kind of file"));
}

TEST_CASE("checkpoint_every: the file of the last rounds, while the run goes on and at its end", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    long_run run;
    auto trainer = run.trainer();
    struct {
        std::filesystem::path file;
        std::vector<std::size_t> seen;
        void on_round(const round_report&) { seen.push_back(std::filesystem::exists(file) ? 1 : 0); }
    } watch{file, {}};
    trainer.run(long_run::options(5, 0), checkpoint_every(2, file, trainer, run.policy), watch);
    REQUIRE(watch.seen == std::vector<std::size_t>{0, 1, 1, 1, 1});
    long_run other;
    auto resumed = other.trainer();
    load_checkpoint(file, resumed, other.policy);
    REQUIRE(resumed.rounds_done() == 5);
    REQUIRE(same_bits(parameters_of(run.policy), parameters_of(other.policy)));
    REQUIRE(message_of<option_error>([&] { checkpoint_every(0, file, trainer); }) != "nothing thrown");
}

TEST_CASE("checkpoint: demonstrations of another number are refused; models of one's own need parameters() only",
          "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    demonstrations<batch> three(rows_of<float>({{1, 0}, {2, 0}, {3, 0}})), two(rows_of<float>({{1, 0}, {2, 0}}));
    three.sample(2, {1, 0});
    save_checkpoint(file, three);
    const std::vector<std::byte> before = state_of_all(two);
    REQUIRE(contains(message_of<option_error>([&] { load_checkpoint(file, two); }), "demonstrations"));
    REQUIRE(state_of_all(two) == before);

    three_numbers a, b;
    a.x = {4, 5, 6};
    save_checkpoint(file, a);
    load_checkpoint(file, b);
    REQUIRE(same_bits(a.x, b.x));
}

TEST_CASE("checkpoint: what stands for a scorer brings it along", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    const auto scorer_of = [](std::uint64_t seed, std::size_t outputs) {
        return lstm_scorer<float>(
            {.vocabulary = 4, .embedding = 4, .hidden = 6, .dropout = 0.3, .seed = seed, .outputs = outputs});
    };
    const batch seen = rows_of<float>({{1, 2, 3, 0}, {2, 0}});
    lstm_scorer<float> a = scorer_of(1, 3), b = scorer_of(2, 3);
    pair_critic<lstm_scorer<float>> pairs(a), pairs_too(b);
    std::vector<float> score(6), score_too(6);
    pairs.backward_pairs(pairs.forward_pairs(seen, seen, score), std::vector<float>{1, 2, 3, 4, 5, 6});
    pairs.step({.learning_rate = 0.1});
    save_checkpoint(file, pairs);
    load_checkpoint(file, pairs_too);
    REQUIRE(state_of_all(pairs, a) == state_of_all(pairs_too, b));

    lstm_scorer<float> c = scorer_of(3, 1), d = scorer_of(4, 1);
    averaged_scorer<lstm_scorer<float>> smooth(c), smooth_too(d);
    score.resize(2), score_too.resize(2);
    for (int k = 0; k < 2; ++k) {
        smooth.backward(smooth.forward(seen, score), std::vector<float>{1, -2});
        smooth.step({.learning_rate = 0.1});
    }
    save_checkpoint(file, smooth);
    load_checkpoint(file, smooth_too);
    REQUIRE(state_of_all(smooth, c) == state_of_all(smooth_too, d));
    smooth.evaluate(seen, score), smooth_too.evaluate(seen, score_too);
    REQUIRE(score == score_too);
}

TEST_CASE("checkpoint: past samples of a body in motion", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    point_mass_policy<double> policy({});
    const std::vector<std::uint64_t> id = {0, 1, 2};
    replay_buffer<point_mass_batch<double>> past(5), restored(0);
    for (std::uint32_t step = 0; step < 2; ++step) past.add(policy.rollout({}, id, {}, {1, step}));
    save_checkpoint(file, past);
    load_checkpoint(file, restored);
    REQUIRE(restored.size() == 5);
    auto drawn = past.sample(20, {2, 0}), drawn_too = restored.sample(20, {2, 0});
    REQUIRE(state_of_all(drawn) == state_of_all(drawn_too));
}

TEST_CASE("checkpoint: a health monitor knows the first rounds and what it has said", "[io]") {
    const temp_dir folder;
    const std::filesystem::path file = folder / "state.safetensors";
    const auto see = [](health_monitor& h, std::size_t rounds, double length) {
        for (std::size_t i = 1; i <= rounds; ++i) {
            round_report r{.round = i};
            r.length_mean = length, r.constant_reward_share = 1;
            h.on_round(r);
        }
    };
    const auto alarms = [](const health_monitor& h) {
        std::vector<std::pair<rlgaf::alarm, std::size_t>> all;
        for (const auto& a : h.alarms()) all.emplace_back(a.what, a.round);
        return all;
    };
    const auto quiet = [](const char*) {};
    health_monitor whole({.patience = 8}, quiet), resumed({.patience = 8}, quiet);
    see(whole, 8, 5);  // the reward has collapsed by now
    REQUIRE(whole.has(rlgaf::alarm::reward_collapse));
    see(whole, 3, 20);
    save_checkpoint(file, whole);
    load_checkpoint(file, resumed);
    see(whole, 10, 20), see(resumed, 10, 20);
    REQUIRE(alarms(whole) ==
            decltype(alarms(whole)){{rlgaf::alarm::reward_collapse, 8}, {rlgaf::alarm::length_drift, 5}});
    REQUIRE(alarms(resumed) == alarms(whole));
}

namespace {
struct mute_batch {
    std::size_t count = 0;
    friend std::size_t rows(const mute_batch& b) { return b.count; }
    friend mute_batch select(const mute_batch&, std::span<const std::size_t> pick) { return {pick.size()}; }
    friend mute_batch concat(const mute_batch& a, const mute_batch& b) { return {a.count + b.count}; }
};
}  // namespace

TEST_CASE("checkpoint: past samples that cannot be written are not lost silently", "[io]") {
    replay_buffer<mute_batch> buffer(10);
    state_writer none;
    buffer.visit(none);  // nothing to lose yet
    buffer.add({3});
    REQUIRE(contains(message_of<option_error>([&] { buffer.visit(none); }), "replay_buffer::visit: batch: expected"));
}
