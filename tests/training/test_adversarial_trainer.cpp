#include "support/catch.hpp"
#include "training/small_language.hpp"

/// The loop of the trainer: what repeats, what is refused, who is called and who learns when.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;

/// A policy whose numbers disagree: `evaluate_off` is added to evaluate's log-prob of row 2, token 0, and `forward_off`
/// to forward's.
struct faulty_policy : ngram_policy<double> {
    using ngram_policy<double>::ngram_policy;
    double evaluate_off = 0, forward_off = 0;

    void evaluate(const batch& b, policy_outputs<double> out) {
        ngram_policy<double>::evaluate(b, out);
        if (!out.log_prob.empty()) out.log_prob.row(2)[0] += evaluate_off;
    }
    tape forward(const batch& b, policy_outputs<double> out) {
        tape t = ngram_policy<double>::forward(b, out);
        out.log_prob.row(2)[0] += forward_off;
        return t;
    }
};

/// A scorer that gives `value` for one row.
struct broken_scorer : ngram_scorer<double> {
    using ngram_scorer<double>::ngram_scorer;
    double value = 0;
    void evaluate(const batch& b, std::span<double> score) {
        ngram_scorer<double>::evaluate(b, score);
        score[3] += value;
    }
};

/// Rows of round r are {r + 1, 0}; the first tokens of what it is trained on are kept.
struct marked_policy : ngram_policy<double> {
    using ngram_policy<double>::ngram_policy;
    std::vector<std::vector<std::int32_t>> trained_on;

    batch rollout(const no_prompts&, std::span<const std::uint64_t> id, const rollout_options&, rng_key key) {
        batch b;
        const std::int32_t row[] = {static_cast<std::int32_t>(key.step) + 1, 0};
        for (std::size_t i = 0; i < id.size(); ++i) b.add(row, row_end::terminated);
        b.log_prob.resize(b.token.size());
        evaluate(b, {.log_prob = ragged_view<double>::packed(b.log_prob.data(), b.offset)});
        return b;
    }
    tape forward(const batch& b, policy_outputs<double> out) {
        trained_on.emplace_back();
        for (std::size_t i = 0; i < rows(b); ++i) trained_on.back().push_back(b.row(i)[0]);
        return ngram_policy<double>::forward(b, out);
    }
};
struct recording_scorer : ngram_scorer<double> {
    using ngram_scorer<double>::ngram_scorer;
    std::vector<std::vector<std::int32_t>> trained_on;
    tape forward(const batch& b, std::span<double> score) {
        trained_on.emplace_back();
        for (std::size_t i = 0; i < rows(b); ++i) trained_on.back().push_back(b.row(i)[0]);
        return ngram_scorer<double>::forward(b, score);
    }
};

/// Both sides of a game of marked rows; demonstrations are {6, 0}, held-out ones {7, 0}.
struct marked_game {
    marked_policy policy{ngram_policy_options{.shape = {.vocabulary = 8, .order = 2}, .max_length = 2}};
    recording_scorer discriminator{ngram_scorer_options{.shape = {.vocabulary = 8, .order = 2}, .initial_spread = 1}};
    demonstrations<batch> experts{rows_of<double>({{6, 0}})};

    void run(const adversarial_options& options) {
        adversarial_trainer trainer{policy, discriminator, experts, reinforce{.baseline = reinforce_baseline::none},
                                    held_out_experts(rows_of<double>({{7, 0}}))};
        trainer.run(options);
    }
};
using markers = std::vector<std::int32_t>;
bool all_are(std::span<const std::int32_t> x, std::int32_t marker) {
    return std::all_of(x.begin(), x.end(), [&](std::int32_t v) { return v == marker; });
}

}  // namespace

TEST_CASE("trainer: the same seed gives the same bits, another seed others", "[training]") {
    const auto trained = [](std::uint64_t seed) {
        players<float> p{adamw{}};
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
        auto options = short_run(12);
        options.seed = seed;
        options.policy.minibatches = 2;
        trainer.run(options);
        return p.parameters();
    };
    const std::vector<double> first = trained(1);
    REQUIRE(finite(first));
    REQUIRE(!same_bits(first, players<float>{adamw{}}.parameters()));
    REQUIRE(same_bits(first, trained(1)));
    REQUIRE(!same_bits(first, trained(2)));
}

TEST_CASE("trainer: run goes on where it stopped, memories included", "[training]") {
    // Everything that remembers: Adam, the baseline, the normaliser, the gate, the replay, the reference, the experts.
    struct outcome {
        std::vector<double> parameters;
        std::vector<std::size_t> round;
        std::vector<bool> held_out, policy_trained;
        std::size_t rounds_done;
    };
    const auto trained = [](std::vector<std::size_t> calls) {
        players<double> p{adamw{}};
        adversarial_trainer trainer{p.policy,
                                    p.discriminator,
                                    p.experts,
                                    reinforce{.baseline = reinforce_baseline::ema},
                                    pipeline{logit_reward{}, running_normalize{}, kl_penalty{.beta = 0.1}},
                                    accuracy_gate{.low = 0.72, .decay = 0.5},
                                    held_out_experts(rows_of<double>({{1, 2, 3, 0}}))};
        keep_reports kept;
        for (const std::size_t rounds : calls) {
            auto options = short_run(rounds);
            options.held_out_every = 3;
            options.discriminator_warmup = 2;
            const round_report last = trainer.run(options, kept);
            REQUIRE(last.round == rounds);
            REQUIRE(last.rounds == rounds);
        }
        outcome o{p.parameters(), {}, {}, {}, trainer.rounds_done()};
        for (const round_report& r : kept.reports) {
            o.round.push_back(r.round);
            o.held_out.push_back(r.accuracy_held_out == r.accuracy_held_out);
            o.policy_trained.push_back(r.policy_steps > 0);
        }
        return o;
    };
    const outcome whole = trained({9}), parts = trained({4, 0, 5});
    REQUIRE(same_bits(whole.parameters, parts.parameters));
    REQUIRE((whole.rounds_done == 9 && parts.rounds_done == 9));
    // Reports count the rounds of their call; everything else counts those of the trainer.
    REQUIRE(whole.round == std::vector<std::size_t>{1, 2, 3, 4, 5, 6, 7, 8, 9});
    REQUIRE(parts.round == std::vector<std::size_t>{1, 2, 3, 4, 1, 2, 3, 4, 5});
    REQUIRE(whole.held_out == std::vector<bool>{true, false, true, false, false, true, false, false, true});
    REQUIRE(parts.held_out == whole.held_out);
    REQUIRE(parts.policy_trained == whole.policy_trained);
    // The gate had its say as well as the warm-up.
    REQUIRE((!whole.policy_trained[0] && !whole.policy_trained[1]));
    const auto after_warmup = whole.policy_trained.begin() + 2;
    REQUIRE(std::count(after_warmup, whole.policy_trained.end(), true) > 1);
    REQUIRE(std::count(after_warmup, whole.policy_trained.end(), false) > 1);
}

TEST_CASE("Trap 16: the sanity gate refuses a policy whose first ratio is not 1, and says where", "[training]") {
    players<double, faulty_policy> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
    auto options = short_run(2);
    const std::vector<double> before = p.parameters();
    const auto refusal = [&](double evaluate_off, double forward_off) {
        p.policy.evaluate_off = evaluate_off;
        p.policy.forward_off = forward_off;
        const std::string message = message_of<numeric_error>([&] { trainer.run(options); });
        REQUIRE(trainer.rounds_done() == 0);
        REQUIRE(same_bits(p.parameters(), before));
        return message;
    };
    for (const double off : {1e-6, -0.3, not_a_number, infinity}) {
        INFO("off by " << off);
        const std::string wrong = refusal(off, 0);
        INFO(wrong);
        REQUIRE(contains(wrong, "rlgaf::adversarial_trainer: evaluate's log_prob of row 2 token 0: expected -"));
        REQUIRE(contains(wrong, "same temperature? same tokens? dropout off?"));

        const std::string dropout = refusal(0, off);
        INFO(dropout);
        REQUIRE(contains(dropout, "forward's log_prob of row 2 token 0"));
        REQUIRE(contains(dropout, "is dropout on in forward?"));
    }
    // Rounding passes; so does what the caller allows; and a repaired policy may go on with the same trainer.
    p.policy.evaluate_off = 1e-11;
    p.policy.forward_off = 0;
    trainer.run(options);
    REQUIRE(trainer.rounds_done() == 2);
    REQUIRE(!same_bits(p.parameters(), before));

    players<double, faulty_policy> rough;
    rough.policy.evaluate_off = rough.policy.forward_off = 0.01;
    adversarial_trainer generous{rough.policy, rough.discriminator, rough.experts, grpo{.group_size = 4}};
    options.log_prob_tolerance = 0.02;
    generous.run(options);
    REQUIRE(generous.rounds_done() == 2);
}

TEST_CASE("trainer: observers are called in order, as often as promised, and may stop the run", "[training]") {
    using diary = std::vector<std::string>;
    diary lines;
    struct writer {
        diary* lines;
        std::string name;
        const batch* last = nullptr;
        void on_begin(const run_info& i) { lines->push_back(name + " begin " + std::to_string(i.rounds)); }
        void on_rollout(const round_report& r, const batch& b) {
            lines->push_back(name + " rollout " + std::to_string(r.round) + " rows " + std::to_string(rows(b)));
            last = &b;
        }
        void on_round(const round_report& r) { lines->push_back(name + " round " + std::to_string(r.round)); }
        void on_end(const round_report& r) { lines->push_back(name + " end " + std::to_string(r.round)); }
    };
    struct stopper {
        std::size_t at;
        bool on_round(const round_report& r) { return r.round == at; }
    };
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
    writer a{&lines, "a"};
    REQUIRE(trainer.run(short_run(2), a, writer{&lines, "b"}).round == 2);
    REQUIRE(lines == diary{"a begin 2", "b begin 2", "a rollout 1 rows 16", "b rollout 1 rows 16", "a round 1",
                           "b round 1", "a rollout 2 rows 16", "b rollout 2 rows 16", "a round 2", "b round 2",
                           "a end 2", "b end 2"});
    REQUIRE(a.last == &trainer.last_round().batch);

    lines.clear();
    stopper soon{2}, never{99};
    REQUIRE(trainer.run(short_run(5), soon, never, a).round == 2);  // those behind it still see the round
    REQUIRE(lines ==
            diary{"a begin 5", "a rollout 1 rows 16", "a round 1", "a rollout 2 rows 16", "a round 2", "a end 2"});
    REQUIRE(trainer.rounds_done() == 4);

    lines.clear();
    REQUIRE(trainer.run(short_run(0), a).round == 0);
    REQUIRE(lines == diary{"a begin 0", "a end 0"});
}

TEST_CASE("trainer: in the warm-up only the discriminator learns", "[training]") {
    players<double> p{adamw{}};
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
    const std::vector<double> policy = parameters_of(p.policy), discriminator = parameters_of(p.discriminator);
    auto options = short_run(3);
    options.discriminator_warmup = 3;
    const round_report warm = trainer.run(options);
    REQUIRE(same_bits(parameters_of(p.policy), policy));
    REQUIRE(!same_bits(parameters_of(p.discriminator), discriminator));
    REQUIRE((warm.policy_steps == 0 && warm.discriminator_steps == 1));
    options.rounds = 1;
    REQUIRE(trainer.run(options).policy_steps == 1);  // the warm-up is of the trainer, not of each call
    REQUIRE(!same_bits(parameters_of(p.policy), policy));
}

TEST_CASE("trainer: the gate lets the side that is behind train alone", "[training]") {
    const auto reports = [](accuracy_gate gate) {
        players<double> p;
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}, gate};
        std::vector<round_report> kept;
        std::vector<double> policy = parameters_of(p.policy), discriminator = parameters_of(p.discriminator);
        for (int k = 0; k < 40; ++k) {
            keep_reports one;
            trainer.run(short_run(1), one);
            kept.push_back(one.reports.at(0));
            // What the report says is what happened.
            REQUIRE((kept.back().policy_steps > 0) != same_bits(policy, parameters_of(p.policy)));
            REQUIRE((kept.back().discriminator_steps > 0) != same_bits(discriminator, parameters_of(p.discriminator)));
            policy = parameters_of(p.policy), discriminator = parameters_of(p.discriminator);
        }
        return kept;
    };
    const auto count = [](const std::vector<round_report>& r, auto&& what) {
        return std::count_if(r.begin(), r.end(), what);
    };
    const auto high = reports({.high = 0.6, .low = 0.5, .decay = 0});
    for (const round_report& r : high) {
        REQUIRE((r.discriminator_steps == 0) == (r.accuracy > 0.6));
        REQUIRE((r.policy_steps == 0) == (r.accuracy < 0.5));
    }
    REQUIRE(count(high, [](const round_report& r) { return r.discriminator_steps == 0; }) > 3);
    REQUIRE(count(high, [](const round_report& r) { return r.discriminator_steps > 0; }) > 3);

    const auto low = reports({.high = 1, .low = 0.7, .decay = 0});
    for (const round_report& r : low) REQUIRE((r.policy_steps == 0) == (r.accuracy < 0.7));
    REQUIRE(count(low, [](const round_report& r) { return r.policy_steps == 0; }) > 3);
    REQUIRE(count(low, [](const round_report& r) { return r.policy_steps > 0; }) > 3);
    REQUIRE(count(low, [](const round_report& r) { return r.discriminator_steps == 0; }) == 0);
}

TEST_CASE("trainer: without discriminator updates the discriminator is frozen", "[training]") {
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
    const std::vector<double> policy = parameters_of(p.policy), discriminator = parameters_of(p.discriminator);
    auto options = short_run(5);
    options.discriminator_updates = 0;
    const round_report r = trainer.run(options);
    REQUIRE(r.discriminator_steps == 0);
    REQUIRE(same_bits(parameters_of(p.discriminator), discriminator));
    REQUIRE(!same_bits(parameters_of(p.policy), policy));

    options.discriminator_updates = 3;
    REQUIRE(trainer.run(options).discriminator_steps == 3);
}

TEST_CASE("trainer: past samples are for the discriminator only", "[training]") {
    marked_game game;
    auto options = short_run(4);
    options.rows = 8;
    options.policy.epochs = 2;
    game.run(options);
    REQUIRE(game.policy.trained_on.size() >= 2 * 3);
    for (const markers& m : game.policy.trained_on) REQUIRE((m.size() == 8 && all_are(m, m[0])));

    const auto& seen = game.discriminator.trained_on;  // demonstrations, then samples: fresh ones, then past ones
    REQUIRE(seen.size() == 4);
    for (std::size_t r = 0; r < 4; ++r) {
        const std::span<const std::int32_t> m(seen[r]);
        REQUIRE(m.size() == 16);
        REQUIRE(all_are(m.first(8), 6));
        const auto now = static_cast<std::int32_t>(r) + 1;
        REQUIRE(all_are(m.subspan(8, r == 0 ? 8 : 4), now));
        for (const std::int32_t past : m.subspan(r == 0 ? 16 : 12)) REQUIRE((past >= 1 && past < now));
    }
    // Later rounds still draw from the first one.
    REQUIRE(std::count(seen[3].begin(), seen[3].end(), 3) < 4);
}

TEST_CASE("trainer: size and share of the replay, and rows of a discriminator step", "[training]") {
    const auto last_seen = [](double fraction, std::size_t capacity, std::size_t discriminator_rows) {
        marked_game game;
        auto options = short_run(4);
        options.rows = 8;
        options.replay_fraction = fraction;
        options.replay_capacity = capacity;
        options.discriminator_rows = discriminator_rows;
        game.run(options);
        std::vector<std::size_t> count(8);
        for (const std::int32_t m : game.discriminator.trained_on.back()) ++count[static_cast<std::size_t>(m)];
        return count;
    };
    using counts = std::vector<std::size_t>;
    REQUIRE(last_seen(0, 100, 0) == counts{0, 0, 0, 0, 8, 0, 8, 0});
    REQUIRE(last_seen(0.5, 0, 0) == counts{0, 0, 0, 0, 8, 0, 8, 0});
    REQUIRE(last_seen(0.75, 8, 0) == counts{0, 0, 0, 6, 2, 0, 8, 0});  // room for one round: the one before
    REQUIRE(last_seen(0.5, 8, 4) == counts{0, 0, 0, 2, 2, 0, 4, 0});
    REQUIRE(last_seen(0.5, 8, 0)[7] == 0);  // held-out demonstrations are never trained on
}

TEST_CASE("trainer: held-out demonstrations are measured when promised", "[training]") {
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4},
                                held_out_experts(rows_of<double>({{1, 2, 3, 0}, {2, 3, 0}}))};
    keep_reports kept;
    auto options = short_run(7);
    options.held_out_every = 3;
    trainer.run(options, kept);
    for (const round_report& r : kept.reports) {
        if (r.round == 1 || r.round % 3 == 0)
            REQUIRE((r.accuracy_held_out >= 0 && r.accuracy_held_out <= 1));
        else
            REQUIRE(is_nan(&r.accuracy_held_out));
    }
    options.held_out_every = 0;
    REQUIRE_THROWS_AS(trainer.run(options), option_error);
}

TEST_CASE("trainer: a score that is no number is refused before anything learns", "[training]") {
    for (const double value : {not_a_number, infinity, -infinity}) {
        players<double, ngram_policy<double>, broken_scorer> p;
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
        trainer.run(short_run(1));
        const std::vector<double> before = p.parameters();
        p.discriminator.value = value;
        const std::string message = message_of<numeric_error>([&] { trainer.run(short_run(1)); });
        INFO(message);
        REQUIRE(contains(message, "score[3]: expected a finite number"));
        REQUIRE(same_bits(p.parameters(), before));
    }
}

TEST_CASE("Trap 30: a gradient that is not finite is dropped and counted, and training goes on", "[training]") {
    players<double> p{adamw{}};
    int policy_calls = 0, discriminator_calls = 0;
    adversarial_trainer trainer{p.policy,
                                p.discriminator,
                                p.experts,
                                as_policy_loss([&](const policy_terms<double>& terms, std::span<const double> weight,
                                                   const ragged_view<double>& d_log_prob) {
                                    const auto stats = policy_gradient_loss{}(terms, weight, d_log_prob);
                                    if (++policy_calls == 2) d_log_prob.row(1)[0] = not_a_number;
                                    return stats;
                                }),
                                as_discriminator_loss([&](const discriminator_terms<double>& terms,
                                                          std::span<double> d_real, std::span<double> d_fake) {
                                    const auto stats = bce{}(terms, d_real, d_fake);
                                    if (++discriminator_calls == 3) d_fake[0] = infinity;
                                    return stats;
                                }),
                                reinforce{}};
    std::vector<std::vector<double>> policy{parameters_of(p.policy)}, discriminator{parameters_of(p.discriminator)};
    struct snapshots {
        players<double>& p;
        std::vector<std::vector<double>>&policy, &discriminator;
        std::vector<round_report> reports{};
        void on_round(const round_report& r) {
            reports.push_back(r);
            policy.push_back(parameters_of(p.policy));
            discriminator.push_back(parameters_of(p.discriminator));
        }
    } seen{p, policy, discriminator};
    trainer.run(short_run(4), seen);
    for (std::size_t r = 0; r < 4; ++r) {
        INFO("round " << r + 1);
        REQUIRE(same_bits(policy[r], policy[r + 1]) == (r == 1));
        REQUIRE(same_bits(discriminator[r], discriminator[r + 1]) == (r == 2));
        REQUIRE(seen.reports[r].policy_steps == (r == 1 ? 0 : 1));
        REQUIRE(seen.reports[r].discriminator_steps == (r == 2 ? 0 : 1));
        REQUIRE(seen.reports[r].discarded_steps == (r == 0 ? 0 : r == 1 ? 1 : 2));
    }
    REQUIRE(finite(p.parameters()));
}
