#include "rlgaf/training/fit_reward_model.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;

/// A scorer that tells what it was asked to read, in tokens, and how fast it was to step.
struct watched_scorer : ngram_scorer<double> {
    using ngram_scorer<double>::ngram_scorer;
    std::vector<std::vector<std::int32_t>> read;  ///< first token of each row, a list a step
    std::vector<double> rates;
    tape forward(const batch& b, std::span<double> score) {
        read.emplace_back();
        for (std::size_t i = 0; i < rows(b); ++i) read.back().push_back(b.row(i)[0]);
        return ngram_scorer<double>::forward(b, score);
    }
    step_report step(const step_options& o) {
        rates.push_back(o.learning_rate);
        return ngram_scorer<double>::step(o);
    }
};
ngram_scorer_options over_eight_tokens() { return {.shape = {.vocabulary = 8, .order = 2}}; }
/// Row i is {i + 1, 0}.
batch seven_rows() { return rows_of<double>({{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}}); }

/// Rows that a policy says, and pairs of neighbours in which the one with more tokens 2 is preferred.
struct made_up_preference {
    batch said;
    std::vector<preference_pair> pairs;

    explicit made_up_preference(std::uint64_t seed, std::size_t n = 400) {
        ngram_policy<double> policy(small_policy());
        std::vector<std::uint64_t> id(n);
        for (std::size_t i = 0; i < n; ++i) id[i] = i;
        said = policy.rollout({}, id, {}, {seed, 0});
        for (std::uint32_t i = 0; i + 1 < n; i += 2) {
            const auto a = count(i), b = count(i + 1);
            if (a != b) pairs.push_back(a > b ? preference_pair{i, i + 1} : preference_pair{i + 1, i});
        }
    }
    std::ptrdiff_t count(std::size_t row) const { return std::count(said.row(row).begin(), said.row(row).end(), 2); }
};

}  // namespace

TEST_CASE("reward model: the gap becomes the log-odds of the preference", "[training]") {
    // Three judges of four prefer the first row: sigmoid(gap) = 3/4.
    ngram_scorer<double> scorer(over_eight_tokens());
    const std::vector<preference_pair> pairs = {{0, 1, 3}, {1, 0, 1}};
    const round_report last =
        fit_reward_model(scorer, seven_rows(), pairs, {.epochs = 3000, .step = {.learning_rate = 0.5, .max_norm = 0}});
    REQUIRE(last.score_expert - last.score_policy == Approx(std::log(3.0) / 2));  // 3/4 gap - 1/4 gap
    REQUIRE(last.discriminator_loss == Approx(-0.75 * std::log(0.75) - 0.25 * std::log(0.25)));
    REQUIRE(last.accuracy == Approx(0.75));
}

TEST_CASE("reward model: learns a made-up preference, of pairs that it never saw too", "[training]") {
    const made_up_preference seen(1), fresh(2);
    REQUIRE((seen.pairs.size() > 100 && fresh.pairs.size() > 100));
    ngram_scorer<double> scorer({.shape = {.vocabulary = 4, .order = 2}, .optimizer = adamw{}});
    const preference_stats before = judge_pairs(scorer, fresh.said, fresh.pairs);
    REQUIRE((before.accuracy == Approx(0.5) && before.loss == Approx(std::log(2.0))));
    keep_reports kept;
    fit_reward_model(scorer, seen.said, seen.pairs,
                     {.epochs = 40, .pairs_per_step = 16, .step = {.learning_rate = 0.05}}, kept);
    const preference_stats after = judge_pairs(scorer, fresh.said, fresh.pairs);
    REQUIRE(after.accuracy > 0.98);
    REQUIRE(after.loss < 0.1);
    REQUIRE(after.margin > 2);
    REQUIRE(judge_pairs(scorer, fresh.said, fresh.pairs, {}, 7).loss == Approx(after.loss).epsilon(1e-12));
    double first = 0, last = 0;
    for (std::size_t i = 0; i < 5; ++i) {
        first += kept.reports[i].accuracy / 5;
        last += kept.reports[kept.reports.size() - 1 - i].accuracy / 5;
    }
    REQUIRE((first < last && last > 0.98));
}

TEST_CASE("reward model: the options of the loss reach it", "[training]") {
    const made_up_preference seen(1);
    const auto trained = [&](const reward_model& loss) {
        ngram_scorer<double> scorer(small_scorer());
        fit_reward_model(
            scorer, seen.said, seen.pairs,
            {.epochs = 200, .pairs_per_step = 500, .step = {.learning_rate = 1, .max_norm = 0}, .loss = loss});
        return judge_pairs(scorer, seen.said, seen.pairs);
    };
    const preference_stats plain = trained({}), smooth = trained({.label_smoothing = 0.2}),
                           centred = trained({.centering = 0.1});
    REQUIRE(smooth.margin < 0.7 * plain.margin);  // gaps stop at log(0.8 / 0.2)
    REQUIRE(std::abs(centred.chosen + centred.rejected) < 0.5 * std::abs(plain.chosen + plain.rejected));
}

TEST_CASE("reward model: micro-batches give the step of the whole", "[training]") {
    const made_up_preference seen(1, 60);
    const auto trained = [&](std::size_t micro_rows) {
        ngram_scorer<double> scorer(small_scorer());
        const round_report r = fit_reward_model(scorer, seen.said, seen.pairs,
                                                {.epochs = 2,
                                                 .pairs_per_step = 7,
                                                 .step = {.learning_rate = 0.5, .max_norm = 0},
                                                 .micro_batch_rows = micro_rows});
        std::vector<double> all = parameters_of(scorer);
        all.push_back(r.discriminator_loss);
        return all;
    };
    for (const std::size_t rows : {1u, 3u, 5u}) REQUIRE(relative_gap(trained(0), trained(rows)) < 1e-12);
}

TEST_CASE("reward model: an epoch takes every pair once, and a step reads a row once", "[training]") {
    // Row 7 is preferred to all others.
    const std::vector<preference_pair> pairs = {{6, 0}, {6, 1}, {6, 2}, {6, 3}, {6, 4}, {6, 5}};
    const auto read = [&](std::uint64_t seed) {
        watched_scorer scorer(over_eight_tokens());
        REQUIRE(fit_reward_model(scorer, seven_rows(), pairs, {.epochs = 2, .pairs_per_step = 4, .seed = seed}).round ==
                4);
        REQUIRE(reward_model_options{.epochs = 2, .pairs_per_step = 4}.steps(6) == 4);
        std::vector<std::int32_t> losers;
        for (std::size_t step = 0; step < 4; ++step) {
            REQUIRE(scorer.read[step].size() == (step % 2 == 0 ? 5 : 3));
            REQUIRE(std::count(scorer.read[step].begin(), scorer.read[step].end(), 7) == 1);
            for (const std::int32_t token : scorer.read[step])
                if (token != 7) losers.push_back(token);
        }
        for (const std::ptrdiff_t epoch : {0, 6}) {
            std::vector<std::int32_t> once(losers.begin() + epoch, losers.begin() + epoch + 6);
            std::sort(once.begin(), once.end());
            REQUIRE(once == std::vector<std::int32_t>{1, 2, 3, 4, 5, 6});
        }
        REQUIRE(!std::equal(losers.begin(), losers.begin() + 6, losers.begin() + 6));
        return losers;
    };
    REQUIRE(read(1) == read(1));
    REQUIRE(read(1) != read(2));
}

TEST_CASE("reward model: the schedule multiplies the learning rate; observers may stop", "[training]") {
    const std::vector<preference_pair> pairs = {{6, 0}, {5, 1}, {4, 2}, {3, 0}};
    watched_scorer scorer(over_eight_tokens());
    struct {
        std::size_t begins = 0, rounds = 0, ends = 0, stop = 3;
        void on_begin(const run_info& i) {
            ++begins;
            rounds = i.rounds;
        }
        bool on_round(const round_report& r) { return r.round == stop; }
        void on_end(const round_report&) { ++ends; }
    } watch;
    const reward_model_options options{.epochs = 5,
                                       .pairs_per_step = 4,
                                       .step = {.learning_rate = 0.2},
                                       .learning_rate = {.shape = schedule_shape::linear, .to = 0.5, .steps = 2}};
    REQUIRE(fit_reward_model(scorer, seven_rows(), pairs, options, watch).round == 3);
    REQUIRE((watch.begins == 1 && watch.rounds == 5 && watch.ends == 1));
    REQUIRE(gap(scorer.rates, std::vector<double>{0.2, 0.15, 0.1}) < 1e-15);
}

TEST_CASE("reward model: what cannot be is refused before anything moves", "[training]") {
    ngram_scorer<double> scorer(over_eight_tokens());
    const std::vector<preference_pair> good = {{0, 1}}, outside = {{0, 1}, {0, 7}}, same = {{2, 2}},
                                       negative = {{0, 1, -1}};
    const auto fit = [&](const std::vector<preference_pair>& pairs, const reward_model_options& options = {}) {
        return [&, options] { fit_reward_model(scorer, seven_rows(), pairs, options); };
    };
    REQUIRE(contains(message_of<option_error>(fit({})), "fit_reward_model: pairs: expected at least one"));
    REQUIRE(contains(message_of<option_error>(fit(good, {.epochs = 0})), ".epochs"));
    REQUIRE(contains(message_of<option_error>(fit(good, {.pairs_per_step = 0})), ".pairs_per_step"));
    REQUIRE(contains(message_of<option_error>(fit(good, {.step = {.learning_rate = not_a_number}})), ".learning_rate"));
    REQUIRE(contains(message_of<option_error>(fit(good, {.loss = {.centering = not_a_number}})), ".centering"));
    REQUIRE(contains(message_of<shape_error>(fit(outside)), "pairs[1]"));
    REQUIRE(contains(message_of<shape_error>(fit(same)), "two different rows"));
    REQUIRE(contains(message_of<numeric_error>(fit(negative)), "weight"));
    const auto untouched = parameters_of(scorer);
    REQUIRE(std::all_of(untouched.begin(), untouched.end(), [](double x) { return x == 0; }));

    scorer.table()(1, 0) = infinity;
    REQUIRE(contains(message_of<numeric_error>([&] {
                         fit_reward_model(scorer, rows_of<double>({{0, 0}, {1, 0}, {2, 0}}),
                                          std::vector<preference_pair>{{1, 2}, {0, 2}}, {});
                     }),
                     "fit_reward_model"));
}

TEST_CASE("reward model: a gradient that is not finite is dropped and counted", "[training]") {
    struct unlucky_scorer : ngram_scorer<double> {
        using ngram_scorer<double>::ngram_scorer;
        int calls = 0;
        void backward(tape&& t, std::span<const double> d) {
            ngram_scorer<double>::backward(std::move(t), d);
            if (++calls == 2) parameters()[0].gradients[0] = infinity;
        }
    } scorer(over_eight_tokens());
    keep_reports kept;
    const std::vector<preference_pair> pairs = {{0, 1}};
    const round_report last = fit_reward_model(scorer, seven_rows(), pairs, {.epochs = 3}, kept);
    REQUIRE(last.discarded_steps == 1);
    REQUIRE((kept.reports[0].discriminator_steps == 1 && kept.reports[1].discriminator_steps == 0));
    REQUIRE(finite(parameters_of(scorer)));
}
