#include "rlgaf/discriminator/loss/bradley_terry_all_pairs.hpp"
#include "rlgaf/discriminator/loss/ra_hinge.hpp"
#include "rlgaf/discriminator/loss/ra_ls.hpp"
#include "rlgaf/discriminator/loss/ragan.hpp"
#include "rlgaf/discriminator/on_tokens.hpp"
#include "rlgaf/discriminator/per_column.hpp"
#include "rlgaf/discriminator/regularizer/token_noise.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

/// What the trainer's steps are made of: micro-batches, minibatches, the reference, truncated sampling, prompts and
/// components of the user's own.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

/// Models that count how they are used.
template <class T>
struct counted_policy : ngram_policy<T> {
    using base = ngram_policy<T>;
    using base::base;
    std::size_t widest = 0, steps = 0;
    std::vector<std::size_t> forward_rows;

    void evaluate(const token_batch<T>& b, policy_outputs<T> out) {
        widest = std::max(widest, rows(b));
        base::evaluate(b, out);
    }
    typename base::tape forward(const token_batch<T>& b, policy_outputs<T> out) {
        widest = std::max(widest, rows(b));
        forward_rows.push_back(rows(b));
        return base::forward(b, out);
    }
    step_report step(const step_options& o) {
        ++steps;
        return base::step(o);
    }
    counted_policy clone() const { return *this; }
};
template <class T>
struct counted_scorer : ngram_scorer<T> {
    using base = ngram_scorer<T>;
    using base::base;
    std::size_t widest = 0;
    void evaluate(const token_batch<T>& b, std::span<T> score) {
        widest = std::max(widest, rows(b));
        base::evaluate(b, score);
    }
    typename base::tape forward(const token_batch<T>& b, std::span<T> score) {
        widest = std::max(widest, rows(b));
        return base::forward(b, score);
    }
};

/// Parameters after a few rounds whose forward passes see `micro_rows` rows at most.
template <class T, class... Regularizers>
std::vector<double> trained_in_parts(std::size_t micro_rows, Regularizers... regularizers) {
    players<T, counted_policy<T>, counted_scorer<T>> p;
    adversarial_trainer trainer{
        p.policy,       p.discriminator, p.experts, grpo{.group_size = 4}, ppo_clip{}, bradley_terry{.centering = 0.01},
        regularizers...};
    auto options = short_run(4, 0.5);
    options.policy.step.max_norm = options.discriminator.step.max_norm = 0;
    options.policy.aggregation.mode = aggregation::sequence_mean;  // so that rows have weights of their own
    options.policy.epochs = 2;
    options.policy.minibatches = 2;
    options.micro_batch_rows = options.policy.micro_batch_rows = options.discriminator.micro_batch_rows = micro_rows;
    const std::vector<double> before = p.parameters();
    const round_report r = trainer.run(options);
    REQUIRE((r.policy_steps == 4 && r.discriminator_steps == 1 && r.discarded_steps == 0));
    REQUIRE(p.policy.widest == (micro_rows == 0 ? 16 : micro_rows));
    REQUIRE(p.discriminator.widest == (micro_rows == 0 ? 32 : micro_rows));
    REQUIRE(relative_gap(before, p.parameters()) > 0.05);
    return p.parameters();
}

using batch = token_batch<double>;
constexpr std::int32_t left = 3, right = 4;

/// Asks 3 or 4.
struct questions {
    token_prompts sample(std::size_t n, rng_key key) const {
        token_prompts p;
        for (std::size_t i = 0; i < n; ++i) {
            const std::int32_t token[] = {random_stream(key, stream::prompts, i).uniform(0) < 0.5 ? left : right};
            p.add(token);
        }
        return p;
    }
};
/// 3 is answered by 1, 4 by 2: neither answer is better without its question.
struct answer_book {
    batch answers(const token_prompts& p, rng_key) const {
        batch b;
        for (std::size_t i = 0; i < rows(p); ++i) {
            const std::int32_t row[] = {p.row(i)[0] - 2, 0};
            b.add(row, row_end::terminated);
        }
        b.prompt = p;
        return b;
    }
};
using asked_policy = ngram_policy<double, token_prompts>;

asked_policy answering_policy() {
    return asked_policy({.shape = {.vocabulary = 5, .order = 2}, .max_length = 4, .optimizer = adamw{}});
}

/// Scores the question, plus 0.5 for a row that answers it.
struct question_reader : ngram_scorer<double> {
    question_reader() : ngram_scorer<double>({.shape = {.vocabulary = 5, .order = 2}}) {}
    void evaluate(const batch& b, std::span<double> score) {
        for (std::size_t i = 0; i < rows(b); ++i)
            score[i] = b.prompt.row(i)[0] + (b.row(i)[0] == b.prompt.row(i)[0] - 2 && b.length[i] == 2 ? 0.5 : 0.0);
    }
    tape forward(const batch& b, std::span<double> score) {
        evaluate(b, score);
        return {b};
    }
};

}  // namespace

TEST_CASE("Trap 10: micro-batches of unequal size give the gradient of the whole, not the mean of their means",
          "[training]") {
    for (const std::size_t micro_rows : {1u, 3u, 5u}) {  // 16 and 32 rows do not divide by these
        INFO("rows a micro-batch: " << micro_rows);
        REQUIRE(relative_gap(trained_in_parts<double>(0), trained_in_parts<double>(micro_rows)) < 1e-12);
        REQUIRE(relative_gap(trained_in_parts<float>(0), trained_in_parts<float>(micro_rows)) < 1e-6);
        const kl_loss kl{.beta = 0.3};
        const entropy_bonus entropy{.coefficient = 0.2};
        const std::vector<double> whole = trained_in_parts<double>(0, kl, entropy);
        REQUIRE(relative_gap(whole, trained_in_parts<double>(micro_rows, kl, entropy)) < 1e-12);
        REQUIRE(relative_gap(whole, trained_in_parts<double>(0)) > 1e-3);  // the regularisers do something
        REQUIRE(relative_gap(trained_in_parts<float>(0, kl, entropy),
                             trained_in_parts<float>(micro_rows, kl, entropy)) < 1e-6);
    }
}

TEST_CASE("steps: epochs times minibatches, every row once an epoch", "[training]") {
    const auto steps = [](std::size_t epochs, std::size_t minibatches) {
        players<double, counted_policy<double>> p;
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
        auto options = short_run(1);
        options.policy.epochs = epochs;
        options.policy.minibatches = minibatches;
        const round_report r = trainer.run(options);
        REQUIRE(r.policy_steps == p.policy.steps);
        std::size_t seen = 0;
        for (std::size_t k = 1; k < p.policy.forward_rows.size(); ++k) {  // the first is the sanity gate's
            const std::size_t n = p.policy.forward_rows[k], m = std::min<std::size_t>(minibatches, 16);
            REQUIRE((n == 16 / m || n == 16 / m + 1));
            seen += n;
        }
        REQUIRE(seen == 16 * epochs);
        return p.policy.steps;
    };
    REQUIRE(steps(1, 1) == 1);
    REQUIRE(steps(3, 1) == 3);
    REQUIRE(steps(2, 4) == 8);
    REQUIRE(steps(2, 5) == 10);
    REQUIRE(steps(1, 99) == 16);  // one row a step at least
    REQUIRE_THROWS_AS(steps(0, 1), option_error);
    REQUIRE_THROWS_AS(steps(1, 0), option_error);
}

TEST_CASE("steps: minibatches of an epoch are a partition of the rows", "[training]") {
    struct row_collector : ngram_policy<double> {
        using ngram_policy<double>::ngram_policy;
        std::vector<double> place;
        tape forward(const batch& b, policy_outputs<double> out) {
            place.insert(place.end(), b.temperature.begin(), b.temperature.end());
            return ngram_policy<double>::forward(b, out);
        }
    } policy{small_policy()};
    trajectories<ngram_policy<double>> drawn;
    roll_out(static_cast<ngram_policy<double>&>(policy), no_prompts{}, {.rows = 24, .group_size = 4}, {.seed = 3},
             drawn);
    trajectories<row_collector> t;  // every row with a temperature of its own, to know it again
    t.batch = drawn.batch;
    for (std::size_t i = 0; i < 24; ++i) t.batch.temperature[i] = static_cast<double>(i + 1);
    t.group_id = drawn.group_id;
    t.group_count = drawn.group_count;
    t.old_log_prob = drawn.old_log_prob;
    t.reward.begin(lengths(t.batch));
    const std::span<double> reward = t.reward.add_outcome("reward");
    for (std::size_t i = 0; i < 24; ++i) reward[i] = static_cast<double>(i % 3);
    part advantage{grpo{.group_size = 4}};
    part loss{policy_gradient_loss{}};
    const auto orders = [&](rng_key key) {
        policy.place.clear();
        update_policy(policy, t, {.epochs = 2, .minibatches = 5}, key, advantage, loss);
        REQUIRE(policy.place.size() == 48);
        std::vector<double> all;
        for (double i = 1; i <= 24; ++i) all.push_back(i);
        for (const std::size_t epoch : {0u, 24u}) {
            std::vector<double> once(policy.place.begin() + static_cast<std::ptrdiff_t>(epoch),
                                     policy.place.begin() + static_cast<std::ptrdiff_t>(epoch) + 24);
            REQUIRE(once != all);  // shuffled
            std::sort(once.begin(), once.end());
            REQUIRE(once == all);
        }
        REQUIRE(!std::equal(policy.place.begin(), policy.place.begin() + 24, policy.place.begin() + 24));
        return policy.place;
    };
    REQUIRE(orders({.seed = 1, .step = 2}) == orders({.seed = 1, .step = 2}));
    REQUIRE(orders({.seed = 1, .step = 2}) != orders({.seed = 1, .step = 3}));
}

TEST_CASE("steps: the trainer's own reference is the policy as it was at first", "[training]") {
    const auto reports = [](bool explicitly, double beta) {
        players<double> p{adamw{}};
        ngram_policy<double> reference = p.policy.clone();
        const std::vector<double> at_first = parameters_of(reference);
        keep_reports kept;
        if (explicitly)
            adversarial_trainer{p.policy,
                                p.discriminator,
                                p.experts,
                                grpo{.group_size = 4},
                                kl_loss{.beta = beta},
                                frozen_reference(reference)}
                .run(short_run(6), kept);
        else
            adversarial_trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}, kl_loss{.beta = beta}}.run(
                short_run(6), kept);
        REQUIRE(kept.reports[0].kl_reference_per_token == 0);
        REQUIRE(std::abs(kept.reports[5].kl_reference_per_token) > 0.01);
        REQUIRE(same_bits(parameters_of(reference), at_first));
        std::vector<double> result = p.parameters();
        for (const round_report& r : kept.reports) result.push_back(r.kl_reference_per_token);
        return result;
    };
    REQUIRE(same_bits(reports(true, 0.5), reports(false, 0.5)));
    REQUIRE(!same_bits(reports(false, 0.5), reports(false, 0.1)));
}

TEST_CASE("Trap 17: truncated sampling needs old log-probs of the policy, and weighs tokens by them", "[training]") {
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}};
    auto options = short_run(1);
    options.sampling.top_k = 2;
    const std::vector<double> before = p.parameters();
    const std::string message = message_of<option_error>([&] { trainer.run(options); });
    INFO(message);
    REQUIRE(contains(message, ".recompute_old: expected true with top_k or top_p"));
    REQUIRE(same_bits(p.parameters(), before));

    for (const double cap : {2.0, 0.6}) {
        options.recompute_old = true;
        options.importance_cap = cap;
        REQUIRE(trainer.run(options).policy_steps == 1);
        const auto& round = trainer.last_round();
        REQUIRE(round.has_token_factor);
        const auto sampled = behaviour_log_prob(round.batch);
        std::size_t below = 0, capped = 0;
        for (std::size_t i = 0; i < rows(round.batch); ++i)
            for (std::size_t t = 0; t < sampled.row(i).size(); ++t) {
                const double ratio = std::exp(round.old_log_prob.view().row(i)[t] - sampled.row(i)[t]);
                REQUIRE(round.token_factor.view().row(i)[t] == Approx(std::min(cap, ratio)).epsilon(1e-12));
                below += ratio < 0.99;
                capped += ratio > cap;
            }
        REQUIRE(below > 10);
        REQUIRE((capped > 0) == (cap < 1));
    }
    options.importance_cap = 0;
    REQUIRE_THROWS_AS(trainer.run(options), option_error);

    // Without truncation the factor is 1 and nothing changes.
    const auto trained = [](bool recompute) {
        players<double> q;
        adversarial_trainer other{q.policy, q.discriminator, q.experts, grpo{.group_size = 4}};
        auto o = short_run(3);
        o.recompute_old = recompute;
        other.run(o);
        return q.parameters();
    };
    REQUIRE(relative_gap(trained(false), trained(true)) < 1e-12);
}

TEST_CASE("steps: rows that do not fill their groups are refused", "[training]") {
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 5}};
    const std::vector<double> before = p.parameters();
    const std::string message = message_of<option_error>([&] { trainer.run(short_run(1)); });
    INFO(message);
    REQUIRE(contains(message, ".rows: expected a positive multiple of the group size, got 16"));
    REQUIRE(same_bits(p.parameters(), before));
    auto options = short_run(1);
    options.rows = 0;
    REQUIRE_THROWS_AS(trainer.run(options), option_error);
    options.rows = 15;
    REQUIRE(trainer.run(options).policy_steps == 1);
}

namespace {
/// A gate that lets the discriminator learn in the first round only.
struct first_round_only {
    using role = rlgaf::role::gate;
    struct state {
        bool begun = false;
        template <class Archive>
        void visit(Archive& a) {
            a("begun", begun);
        }
    };
    void check() const {}
    turn operator()(state& s, double) const { return {.discriminator = !std::exchange(s.begun, true)}; }
};
/// What a checkpoint would keep of the replay.
struct replay_sizes {
    std::vector<std::uint64_t> kept;
    template <class T>
    void operator()(const char* name, T& value) {
        if constexpr (std::is_convertible_v<T, std::uint64_t>)
            if (std::string_view(name) == "size") kept.push_back(static_cast<std::uint64_t>(value));
    }
};
}  // namespace

TEST_CASE("replay remembers and ages in rounds in which the discriminator rests, too", "[training]") {
    for (const std::size_t age : {0u, 2u}) {
        players<double> p;
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, first_round_only{}};
        adversarial_options options = short_run(5);
        options.replay_age = age;
        REQUIRE(trainer.run(options).discriminator_steps == 0);
        replay_sizes sizes;
        trainer.visit(sizes);
        const std::uint64_t rounds = age == 0 ? 5 : 2;
        REQUIRE(sizes.kept == std::vector<std::uint64_t>{rounds * options.rows, rounds * options.rows});
    }
}

TEST_CASE("accuracy is the discriminator's as it is used for rewards, whatever noise it trains with", "[training]") {
    players<double> p;
    adversarial_trainer taught{p.policy, p.discriminator, p.experts};
    taught.run(short_run(20, 0.05));
    players<double> q = p;
    adversarial_trainer clean{p.policy, p.discriminator, p.experts};
    adversarial_trainer noisy{q.policy, q.discriminator, q.experts,
                              token_noise{.vocabulary = 4, .probability = {.from = 1}}};
    const double accuracy = clean.run(short_run(1)).accuracy;
    REQUIRE(accuracy != 0.5);
    REQUIRE(noisy.run(short_run(1)).accuracy == accuracy);
    REQUIRE(!same_bits(parameters_of(p.discriminator), parameters_of(q.discriminator)));
}

TEST_CASE("prompts: the samples of a prompt share its demonstration", "[training]") {
    asked_policy policy = answering_policy();
    question_reader discriminator;
    answer_book book;
    questions source;
    std::size_t calls = 0;
    adversarial_trainer trainer{
        policy,
        discriminator,
        book,
        prompts_from(source),
        rloo{.group_size = 4},
        accuracy_gate{.decay = 0},
        as_discriminator_loss(
            [&](const discriminator_terms<double>& terms, std::span<double> d_real, std::span<double> d_fake) {
                // Four prompts a round: alone in the first round, with eight past samples in the later ones.
                REQUIRE(terms.fake.size() == 16);
                if (calls++ == 0) {
                    REQUIRE(terms.real.size() == 4);
                    for (std::uint32_t r = 0; r < 4; ++r)
                        REQUIRE(std::count(terms.pairs.real_of_fake.begin(), terms.pairs.real_of_fake.end(), r) == 4);
                } else {
                    REQUIRE((terms.real.size() >= 2 + 8 && terms.real.size() <= 4 + 8));
                }
                for (std::size_t j = 0; j < 16; ++j) {  // the same question: scores differ by the half point at most
                    const double gap = terms.real[terms.pairs.real_of_fake[j]] - terms.fake[j];
                    REQUIRE((gap == 0 || gap == 0.5));
                }
                return bradley_terry{}(terms, d_real, d_fake);
            })};
    for (int round = 0; round < 20; ++round) {
        const round_report r = trainer.run(short_run(1));
        const batch& b = trainer.last_round().batch;
        REQUIRE(rows(b.prompt) == 16);
        double right_ones = 0;
        for (std::size_t i = 0; i < 16; ++i) {
            REQUIRE(b.prompt.row(i)[0] == b.prompt.row(i / 4 * 4)[0]);
            REQUIRE(trainer.last_round().group_id[i] == i / 4);
            right_ones += trainer.last_round().score[i] > b.prompt.row(i)[0];
        }
        // A right sample ties with its demonstration, a wrong one is below it; other prompts do not matter.
        REQUIRE(r.accuracy == Approx((16 - right_ones) / 16 + right_ones / 32));
    }
    REQUIRE(calls == 20);
}

TEST_CASE("prompts: losses that compare scores across prompts are refused, and nothing is trained", "[training]") {
    asked_policy policy = answering_policy();
    ngram_scorer<double> discriminator({.shape = {.vocabulary = 5, .order = 2}});
    answer_book book;
    questions source;
    const auto said_by = [&](auto loss) {
        adversarial_trainer trainer{policy, discriminator, book, prompts_from(source), rloo{.group_size = 4}, loss};
        return message_of<option_error>([&] { trainer.run(short_run(1)); });
    };
    const std::vector<double> before = parameters_of(policy), judge = parameters_of(discriminator);
    for (const std::string& message : {said_by(ragan{}), said_by(ra_ls{}), said_by(ra_hinge{}),
                                       said_by(bradley_terry_all_pairs{}), said_by(per_column{ragan{}})}) {
        INFO(message);
        REQUIRE(contains(message, "rlgaf::adversarial_trainer: discriminator loss: expected one that compares scores"));
        REQUIRE(contains(message, "across 4 prompts"));
    }
    REQUIRE((same_bits(parameters_of(policy), before) && same_bits(parameters_of(discriminator), judge)));
    REQUIRE(said_by(ragan{.per_prompt = true}) == "nothing thrown");
}

TEST_CASE("prompts: both sides learn what depends on the prompt", "[training]") {
    asked_policy policy = answering_policy();
    ngram_scorer<double> discriminator({.shape = {.vocabulary = 5, .order = 2}, .optimizer = adamw{}});
    answer_book book;
    questions source;
    const auto probability = [&](std::int32_t question, std::int32_t answer) {
        std::vector<double> lp(5);
        const std::size_t context = policy.contexts().after(policy.contexts().start(), question);
        log_softmax<double>(std::span<const double>(&policy.logits()(context, 0), 5), 1, lp);
        return std::exp(lp[static_cast<std::size_t>(answer)]);
    };
    const auto score_of = [&](std::int32_t question, std::int32_t answer) {
        const std::int32_t row[] = {answer, 0};
        batch b;
        b.add(row, row_end::terminated);
        b.prompt.add(std::span(&question, 1));
        double s = 0;
        discriminator.evaluate(b, std::span(&s, 1));
        return s;
    };
    adversarial_trainer trainer{policy, discriminator, book, prompts_from(source), grpo{.group_size = 8}};
    auto options = short_run(150, 0.03);
    options.rows = 64;
    options.discriminator_warmup = 20;
    std::vector<double> judged;
    struct watch {
        std::vector<double>& judged;
        decltype(score_of)& score;
        void on_round(const round_report& r) {
            if (r.round == 20) judged = {score(left, 1) - score(left, 2), score(right, 2) - score(right, 1)};
        }
    };
    trainer.run(options, watch{judged, score_of});
    INFO("margins " << judged[0] << ' ' << judged[1] << ", policy " << probability(left, 1) << ' '
                    << probability(right, 2));
    REQUIRE((judged[0] > 0.2 && judged[1] > 0.2));
    REQUIRE((probability(left, 1) > 0.8 && probability(right, 2) > 0.8));
}

TEST_CASE("prompts: sources that give the wrong number of rows are refused", "[training]") {
    struct few_questions : questions {
        std::size_t rows = 3;
        token_prompts sample(std::size_t, rng_key key) const { return questions::sample(rows, key); }
    } source;
    struct few_answers : answer_book {
        bool short_of_one = false;
        batch answers(const token_prompts& p, rng_key key) const {
            const batch all = answer_book::answers(p, key);
            const std::size_t first[] = {0};
            return short_of_one ? select(all, first) : all;
        }
    } book;
    asked_policy policy = answering_policy();
    ngram_scorer<double> discriminator({.shape = {.vocabulary = 5, .order = 2}});
    adversarial_trainer trainer{policy, discriminator, book, prompts_from(source), rloo{.group_size = 4}};
    REQUIRE_THROWS_AS(trainer.run(short_run(1)), shape_error);
    source.rows = 0;
    REQUIRE_THROWS_AS(trainer.run(short_run(1)), shape_error);
    source.rows = 4;
    book.short_of_one = true;
    const std::vector<double> before = parameters_of(policy);
    const std::string message = message_of<shape_error>([&] { trainer.run(short_run(1)); });
    INFO(message);
    REQUIRE(contains(message, "expected 4 elements, got 1"));
    REQUIRE(same_bits(parameters_of(policy), before));
    book.short_of_one = false;
    REQUIRE(trainer.run(short_run(1)).discriminator_steps == 1);

    struct few_demonstrations {
        batch sample(std::size_t, rng_key) const { return rows_of<double>({{1, 0}}); }
    } miser;
    players<double> p;
    adversarial_trainer unprompted{p.policy, p.discriminator, miser, grpo{.group_size = 4}};
    REQUIRE_THROWS_AS(unprompted.run(short_run(1)), shape_error);
}

TEST_CASE("components of one's own do what the library's do", "[training]") {
    players<double> ours, theirs;
    adversarial_trainer a{ours.policy,
                          ours.discriminator,
                          ours.experts,
                          reinforce{},
                          ppo_clip{},
                          bce{},
                          pipeline{logit_reward{}, missing_eos{.penalty = 2}}};
    adversarial_trainer b{
        theirs.policy,
        theirs.discriminator,
        theirs.experts,
        as_advantage([](const advantage_terms<double>& terms, workspace& work, const ragged_view<double>& out) {
            double mean = 0, n = static_cast<double>(out.rows());
            work.a.assign(out.rows(), 0.0);
            for (std::size_t i = 0; i < out.rows(); ++i) {
                for (const outcome_reward& r : terms.reward.outcome) work.a[i] += r.value[i];
                mean += work.a[i] / n;
            }
            for (std::size_t i = 0; i < out.rows(); ++i)
                for (double& x : out.row(i)) x = work.a[i] - mean;
            return advantage_stats{};
        }),
        as_policy_loss([](const policy_terms<double>& terms, std::span<const double> weight,
                          const ragged_view<double>& d_log_prob) {
            for (std::size_t i = 0; i < terms.log_prob.rows(); ++i)
                for (std::size_t t = 0; t < terms.log_prob.length(i); ++t)
                    d_log_prob.row(i)[t] -= weight[i] * terms.advantage.row(i)[t];
            return policy_loss_stats{.tokens = 1};
        }),
        as_discriminator_loss(
            [](const discriminator_terms<double>& terms, std::span<double> d_real, std::span<double> d_fake) {
                for (std::size_t i = 0; i < d_real.size(); ++i)
                    d_real[i] -= 1 / (1 + std::exp(terms.real[i])) / static_cast<double>(d_real.size());
                for (std::size_t i = 0; i < d_fake.size(); ++i)
                    d_fake[i] += 1 / (1 + std::exp(-terms.fake[i])) / static_cast<double>(d_fake.size());
                return discriminator_loss_stats{};
            }),
        pipeline{logit_reward{}, as_reward(
                                     "ends",
                                     [](const batch& rows_now, std::size_t i) {
                                         return rows_now.end[i] == row_end::truncated ? -1.0 : 0.0;
                                     },
                                     2)}};
    const std::vector<double> before = ours.parameters();
    a.run(short_run(5));
    b.run(short_run(5));
    REQUIRE(relative_gap(before, ours.parameters()) > 0.01);
    REQUIRE(relative_gap(ours.parameters(), theirs.parameters()) < 1e-12);
    REQUIRE(b.last_round().reward.name(1) == "ends");
}

TEST_CASE("a second scoring that fails leaves nothing that looks like scores", "[training]") {
    struct breaking : ngram_scorer<double> {
        using ngram_scorer<double>::ngram_scorer;
        bool broken = false;
        void evaluate(const token_batch<double>& b, std::span<double> score) {
            ngram_scorer<double>::evaluate(b, score);
            if (broken) throw std::runtime_error("no scores");
        }
        void evaluate_tokens(const token_batch<double>& b, ragged_view<double> score) {
            ngram_scorer<double>::evaluate_tokens(b, score);
            if (broken) throw std::runtime_error("no scores");
        }
        void attribute(const token_batch<double>& b, ragged_view<double> weight) {
            for (std::size_t i = 0; i < rows(b); ++i)
                for (double& w : weight.row(i)) w = broken ? not_a_number : 1;
        }
    } scorer(small_scorer());
    ngram_policy<double> policy(small_policy());
    trajectories<ngram_policy<double>> t;
    roll_out(policy, no_prompts{}, {.rows = 4, .group_size = 1}, {1, 0}, t);
    const auto flags = [&] { return std::array{t.has_token_score, t.has_token_weight, t.has_prefix_value}; };
    const auto all = [&] {
        const auto attempt = [](auto&& f) {
            try {
                f();
            } catch (const std::exception&) {
            }
        };
        attempt([&] { score_tokens(scorer, t); });
        attempt([&] { attribute_tokens(scorer, t); });
        attempt([&] { roll_out_values(policy, scorer, t, {.rollouts = 1}, {1, 0}, [](double x) { return x; }); });
        return flags();
    };
    REQUIRE(all() == std::array{true, true, true});
    scorer.broken = true;
    REQUIRE(all() == std::array{false, false, false});
}

TEST_CASE("score_passes is refused with a loss of tokens, which makes no use of it", "[training]") {
    players<double> who;
    adversarial_trainer trainer{who.policy, who.discriminator, who.experts, on_tokens{bce{}}, token_score_reward{}};
    adversarial_options options = short_run(1);
    options.score_passes = 2;
    const std::vector<double> before = who.parameters();
    REQUIRE(
        message_of<option_error>([&] { trainer.run(options); }) ==
        "rlgaf::adversarial_options: .score_passes: expected 0 with a discriminator loss of tokens or pairs, got 2");
    REQUIRE(who.parameters() == before);
}
