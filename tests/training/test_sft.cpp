#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;

/// Rows with repeats: a distribution to match.
batch some_rows() {
    return rows_of<double>({{1, 2, 0}, {1, 2, 0}, {1, 2, 0}, {3, 0}, {3, 0}, {2, 2, 1, 0}, {1, 3, 3, 2}, {0}});
}
/// Sees all that came before, and so can say any distribution of rows.
ngram_policy<double> large_policy(optimizer_choice optimizer = sgd{}) {
    return ngram_policy<double>({.shape = {.vocabulary = 4, .order = 4}, .max_length = 4, .optimizer = optimizer});
}
/// Learning rates that it was asked to step with.
struct stepped_policy : ngram_policy<double> {
    using ngram_policy<double>::ngram_policy;
    std::vector<double> rates;
    std::vector<std::vector<double>> rows_seen;  ///< temperatures, which tests use as row numbers
    tape forward(const batch& b, policy_outputs<double> out) {
        rows_seen.push_back(b.temperature);
        return ngram_policy<double>::forward(b, out);
    }
    step_report step(const step_options& o) {
        rates.push_back(o.learning_rate);
        return ngram_policy<double>::step(o);
    }
};

}  // namespace

TEST_CASE("sft: a policy that can say everything reaches the entropy of its demonstrations", "[training]") {
    const batch demos = some_rows();
    double entropy = 0, tokens = 0;  // of the empirical distribution of rows
    for (std::size_t i = 0; i < rows(demos); ++i) {
        double same = 0;
        for (std::size_t j = 0; j < rows(demos); ++j)
            same += std::equal(demos.row(i).begin(), demos.row(i).end(), demos.row(j).begin(), demos.row(j).end());
        entropy -= std::log(same / 8);
        tokens += demos.length[i];
    }
    auto policy = large_policy(adamw{});
    const sft_options options{.epochs = 400, .step = {.learning_rate = 0.1}};
    const round_report first = fine_tune(policy, demos, {.step = {.learning_rate = 0.1}});
    const round_report last = fine_tune(policy, demos, options);
    REQUIRE(first.policy_loss == Approx(std::log(4.0)));
    REQUIRE(last.policy_loss == Approx(entropy / tokens).epsilon(0.002));
    REQUIRE(last.policy_loss >= entropy / tokens - 1e-12);
    REQUIRE((last.round == 400 && last.rounds == 400 && options.steps(8) == 400));
}

TEST_CASE("sft: micro-batches give the step of the whole", "[training]") {
    const auto trained = [](std::size_t micro_rows, aggregation mode) {
        ngram_policy<double> policy(small_policy());
        const round_report r = fine_tune(policy, some_rows(),
                                         {.epochs = 3,
                                          .rows_per_step = 5,
                                          .step = {.learning_rate = 0.5, .max_norm = 0},
                                          .aggregation = {.mode = mode},
                                          .micro_batch_rows = micro_rows});
        REQUIRE(r.round == 6);
        std::vector<double> all = parameters_of(policy);
        all.push_back(r.policy_loss);
        return all;
    };
    for (const aggregation mode : {aggregation::token_mean, aggregation::sequence_mean, aggregation::sum})
        for (const std::size_t micro_rows : {1u, 2u, 3u}) {
            INFO("mode " << static_cast<int>(mode) << ", rows " << micro_rows);
            REQUIRE(relative_gap(trained(0, mode), trained(micro_rows, mode)) < 1e-12);
        }
    REQUIRE(relative_gap(trained(0, aggregation::token_mean), trained(0, aggregation::sequence_mean)) > 1e-3);
}

TEST_CASE("sft: masked tokens are not learned", "[training]") {
    // Without history (order 1) a masked token might as well not be there.
    const auto trained = [](const batch& demos) {
        ngram_policy<double> policy({.shape = {.vocabulary = 4, .order = 1}, .max_length = 6});
        const round_report r = fine_tune(policy, demos, {.epochs = 5, .step = {.learning_rate = 0.3}});
        std::vector<double> all = parameters_of(policy);
        all.push_back(r.policy_loss);
        return all;
    };
    const auto masked = [](std::int32_t hidden) {
        batch b;
        const std::int32_t first[] = {1, hidden, hidden, 0}, second[] = {2, hidden, 0};
        const std::uint8_t first_mask[] = {1, 0, 0, 1}, second_mask[] = {1, 0, 1};
        b.add(first, row_end::terminated, {}, 1, first_mask);
        b.add(second, row_end::terminated, {}, 1, second_mask);
        return b;
    };
    REQUIRE(same_bits(trained(masked(3)), trained(masked(1))));
    REQUIRE(same_bits(trained(masked(3)), trained(rows_of<double>({{1, 0}, {2, 0}}))));
    REQUIRE(!same_bits(trained(masked(3)), trained(rows_of<double>({{1, 3, 3, 0}, {2, 3, 0}}))));
}

TEST_CASE("sft: observers see every step and may stop it", "[training]") {
    struct {
        std::size_t begins = 0, rounds = 0, ends = 0, stop = 99;
        void on_begin(const run_info& i) {
            ++begins;
            rounds = i.rounds;
        }
        bool on_round(const round_report& r) {
            REQUIRE(r.policy_steps == 1);
            return r.round == stop;
        }
        void on_end(const round_report&) { ++ends; }
    } watch;
    keep_reports kept;
    auto policy = large_policy();
    const sft_options options{.epochs = 2, .rows_per_step = 3};
    REQUIRE(fine_tune(policy, some_rows(), options, watch, kept).round == 6);
    REQUIRE((watch.begins == 1 && watch.ends == 1 && watch.rounds == 6 && kept.reports.size() == 6));
    watch.stop = 4;
    REQUIRE(fine_tune(policy, some_rows(), options, watch, kept).round == 4);
    REQUIRE((watch.begins == 2 && watch.ends == 2 && kept.reports.size() == 10));
}

TEST_CASE("sft: the schedule multiplies the learning rate, step by step", "[training]") {
    stepped_policy policy(small_policy());
    const schedule falling{.shape = schedule_shape::linear, .from = 1, .to = 0.5, .steps = 4, .warmup = 2};
    fine_tune(policy, some_rows(),
              {.epochs = 3, .rows_per_step = 4, .step = {.learning_rate = 0.2}, .learning_rate = falling});
    const std::vector<double> expected{0.1, 0.2, 0.2, 0.15, 0.1, 0.1};  // warm-up, then down to a half
    REQUIRE(gap(policy.rates, expected) < 1e-15);
}

TEST_CASE("sft: every epoch sees every row once, in an order of its own", "[training]") {
    batch demos = some_rows();
    for (std::size_t i = 0; i < 8; ++i) demos.temperature[i] = static_cast<double>(i + 1);
    const auto order = [&](std::uint64_t seed) {
        stepped_policy policy(small_policy());
        fine_tune(policy, demos, {.epochs = 2, .rows_per_step = 3, .seed = seed});
        std::vector<double> flat;
        for (const auto& r : policy.rows_seen) flat.insert(flat.end(), r.begin(), r.end());
        REQUIRE(flat.size() == 16);
        for (const std::ptrdiff_t epoch : {0, 8}) {
            std::vector<double> once(flat.begin() + epoch, flat.begin() + epoch + 8);
            std::sort(once.begin(), once.end());
            REQUIRE(once == std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8});
        }
        REQUIRE(!std::equal(flat.begin(), flat.begin() + 8, flat.begin() + 8));
        return flat;
    };
    REQUIRE(order(1) == order(1));
    REQUIRE(order(1) != order(2));
}

TEST_CASE("sft: what cannot be is refused", "[training]") {
    auto policy = large_policy();
    const auto refusal = [&](const batch& demos, const sft_options& options) {
        return message_of<option_error>([&] { fine_tune(policy, demos, options); });
    };
    REQUIRE(contains(refusal(batch{}, {}), "fine_tune: demonstrations: expected at least one row"));
    REQUIRE(contains(refusal(some_rows(), {.epochs = 0}), ".epochs"));
    REQUIRE(contains(refusal(some_rows(), {.rows_per_step = 0}), ".rows_per_step"));
    REQUIRE(contains(refusal(some_rows(), {.step = {.learning_rate = not_a_number}}), ".learning_rate"));
    const auto untouched = parameters_of(policy);
    REQUIRE(std::all_of(untouched.begin(), untouched.end(), [](double x) { return x == 0; }));
}

TEST_CASE("sft: a gradient that is not finite is dropped and counted", "[training]") {
    struct unlucky_policy : ngram_policy<double> {
        using ngram_policy<double>::ngram_policy;
        int calls = 0;
        void backward(tape&& t, policy_cotangents<double> c) {
            ngram_policy<double>::backward(std::move(t), c);
            if (++calls == 2) parameters()[0].gradients[0] = infinity;
        }
    } policy(small_policy());
    keep_reports kept;
    const round_report last = fine_tune(policy, some_rows(), {.epochs = 3}, kept);
    REQUIRE(last.discarded_steps == 1);
    REQUIRE((kept.reports[0].policy_steps == 1 && kept.reports[1].policy_steps == 0 && last.policy_steps == 1));
    REQUIRE(finite(parameters_of(policy)));
}
