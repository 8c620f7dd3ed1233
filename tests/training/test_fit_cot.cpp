#include "rlgaf/models/lstm.hpp"
#include "rlgaf/training/fit_cot.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

/// The policy's loss by the tables: mean KL of the next token's distributions at the tokens of b.
double loss_by_table(const table_model& policy, const table_model& mediator, const batch& b) {
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < rows(b); ++i) {
        std::size_t context = policy.contexts().start();
        for (std::size_t t = 0; t < b.length[i]; ++t) {
            const auto p = exact_log_prob(policy, context, 1), m = exact_log_prob(mediator, context, 1);
            for (std::size_t v = 0; v < p.size(); ++v) sum += std::exp(p[v]) * (p[v] - m[v]);
            count += 1;
            context = policy.contexts().after(context, b.row(i)[t]);
        }
    }
    return sum / count;
}
/// The mediator's: nats a token of demonstrations and samples.
double likelihood_by_table(const table_model& mediator, const batch& b) {
    double sum = 0;
    for (std::size_t i = 0; i < rows(b); ++i) {
        std::size_t context = mediator.contexts().start();
        for (const std::int32_t token : b.row(i)) {
            sum -= exact_log_prob(mediator, context, 1)[static_cast<std::size_t>(token)];
            context = mediator.contexts().after(context, token);
        }
    }
    return sum / static_cast<double>(b.token.size());
}
batch said_by(table_model& data, std::size_t n) {
    batch b = data.rollout({}, ids(n), {}, {77, 0});
    b.log_prob.clear();
    return b;
}

}  // namespace

TEST_CASE("fit_cot: one round is a step down the slope of each side's loss", "[training]") {
    const batch real = rows_of<double>({{1, 2, 0}, {2, 1, 1, 0}, {1, 0}, {2, 2, 2, 2}});
    for (const std::size_t micro : {0u, 1u, 3u}) {
        table_model policy(tiny_policy(1, 1)), mediator(tiny_policy(3, 1));
        const table_model policy_before = policy, mediator_before = mediator;
        keep_samples kept;
        const round_report report = fit_cot(policy, mediator, {}, real,
                                            {.rounds = 1,
                                             .rows = 4,
                                             .policy = {.learning_rate = 0.5, .max_norm = 0},
                                             .mediator = {.learning_rate = 0.25, .max_norm = 0},
                                             .micro_batch_rows = micro},
                                            kept);
        const batch both = concat(real, kept.samples.at(0));  // in another order, all of them
        const auto check = [](table_model& after, const table_model& before, double rate, double reported,
                              auto&& value) {
            REQUIRE(reported == Approx(value(before)));
            const std::vector<double> end = logits_of(after);
            std::vector<double> moved, expected;
            table_model near = before;
            const auto logits = near.parameters()[0].values;
            for (std::size_t i = 0; i < logits.size(); ++i) {
                moved.push_back((logits[i] - end[i]) / rate);
                expected.push_back(slope([&] { return value(near); }, logits[i]));
            }
            REQUIRE(relative_gap(expected, moved) < 1e-8);
        };
        check(mediator, mediator_before, 0.25, report.discriminator_loss,
              [&](const table_model& m) { return likelihood_by_table(m, both); });
        check(policy, policy_before, 0.5, report.policy_loss,
              [&](const table_model& p) { return loss_by_table(p, mediator, kept.samples[0]); });
        REQUIRE((report.policy_steps == 1 && report.discriminator_steps == 1 && report.discarded_steps == 0));
        REQUIRE(report.tokens == static_cast<double>(kept.samples[0].token.size()));
    }
}

TEST_CASE("fit_cot on the LSTM: the policy's gradient is the slope of the KL; the mediator gets none", "[training]") {
    lstm_policy<double> policy({.vocabulary = 4, .embedding = 3, .hidden = 4, .max_length = 5, .seed = 3}),
        mediator({.vocabulary = 4, .embedding = 2, .hidden = 3, .max_length = 5, .seed = 8});
    batch b = rows_of<double>({{1, 2, 3, 0}, {3, 3, 3, 3, 3}, {2, 0}, {0}});
    b.mask.assign(b.token.size(), 1);
    b.mask[1] = b.mask[6] = 0;
    const std::vector<double> weight = {0.3, 0.1, 0.4, 0.2};
    workspace work;
    for (const std::size_t micro : {0u, 2u}) {
        const auto value = [&] { return detail::accumulate_mediated(policy, mediator, b, weight, micro, work); };
        policy.discard();
        value();
        const std::vector<double> got = gradients_of(policy);
        std::vector<double> expected;
        for (const auto& block : policy.parameters())
            for (double& x : block.values) expected.push_back(slope(value, x));
        REQUIRE(relative_gap(expected, got) < 1e-6);
        for (const double g : gradients_of(mediator)) REQUIRE(g == 0);
    }
    lstm_policy<double> narrow({.vocabulary = 3, .embedding = 2, .hidden = 3, .max_length = 5});
    batch low = rows_of<double>({{1, 2, 0}});
    REQUIRE_THROWS_AS(detail::accumulate_mediated(policy, narrow, low, std::vector<double>{1}, 0, work), shape_error);
    REQUIRE_THROWS_AS(detail::accumulate_mediated(narrow, policy, low, std::vector<double>{1}, 0, work), shape_error);
}

TEST_CASE("fit_cot: the policy comes to speak like the demonstrations, or like a mediator that stands still",
          "[training]") {
    table_model data(tiny_policy(2, 1)), start(tiny_policy(1, 1.5)), untrained(tiny_policy(5, 1));
    const batch demonstrations = said_by(data, 1000);
    const double before = kl_of(data, start);
    REQUIRE(before > 0.3);
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        const auto trained = [&](double mediator_rate) {
            table_model policy = start, mediator = untrained;
            fit_cot(policy, mediator, {}, demonstrations,
                    {.rounds = 500,
                     .policy = {.learning_rate = 1, .max_norm = 0},
                     .mediator = {.learning_rate = mediator_rate, .max_norm = 0},
                     .seed = seed});
            return kl_of(data, policy);
        };
        const double learnt = trained(1), control = trained(0), like_mediator = kl_of(data, untrained);
        CAPTURE(seed, before, learnt, control, like_mediator);
        CHECK(learnt < 0.1 * like_mediator);
        CHECK(gap(control, like_mediator) < 1e-3);
    }
}

TEST_CASE("a report of samples counts masked tokens and does not read them", "[training]") {
    batch b;
    const std::vector<std::int32_t> one = {1, 2, 0}, other = {2};
    const std::vector<double> of_one = {-1, not_a_number, -0.25}, of_other = {-0.5};
    const std::vector<std::uint8_t> hole = {1, 0, 1}, none = {1};
    b.add(one, row_end::terminated, of_one, 1, hole);
    b.add(other, row_end::truncated, of_other, 1, none);
    round_report report;
    detail::describe_samples(report, b);
    REQUIRE((report.tokens == 4 && report.length_mean == 2 && report.truncated_share == 0.5));
    REQUIRE(report.entropy_sampled == Approx(1.75 / 3));
    round_report untouched;
    detail::describe_samples(untouched, batch{});
    REQUIRE(std::isnan(untouched.length_mean));
}

TEST_CASE("fit_cot: observers may stop, the seed decides, more steps of the mediator, what is refused", "[training]") {
    const batch real = rows_of<double>({{1, 2, 0}, {2, 0}, {1, 1, 0}, {1, 0}, {0}});
    const auto trained = [&](const cot_options& options) {
        table_model policy(tiny_policy(1, 1)), mediator(tiny_policy(3, 1));
        fit_cot(policy, mediator, {}, real, options);
        return logits_of(policy);
    };
    const cot_options options{.rounds = 4, .rows = 3, .policy = {.learning_rate = 1}, .mediator = {.learning_rate = 1}};
    cot_options seed = options, twice = options, slow = options;
    seed.seed = 2, twice.mediator_steps = 2, slow.policy_rate = {.from = 0.5};
    REQUIRE(same_bits(trained(options), trained(options)));
    for (const cot_options& other : {seed, twice, slow}) REQUIRE(!same_bits(trained(options), trained(other)));

    table_model policy(tiny_policy(1, 1)), mediator(tiny_policy(3, 1));
    keep_reports kept;
    REQUIRE(fit_cot(policy, mediator, {}, real, twice, kept).round == 4);
    for (const round_report& r : kept.reports) REQUIRE(r.discriminator_steps == 2);
    struct {
        bool on_round(const round_report& r) { return r.round == 2; }
    } stop;
    REQUIRE(fit_cot(policy, mediator, {}, real, options, stop).round == 2);

    REQUIRE_THROWS_AS(fit_cot(policy, mediator, {}, batch{}, options), option_error);
    REQUIRE(refuses(cot_options{.rows = 0}, "cot_options", "rows"));
    REQUIRE(refuses(cot_options{.mediator_steps = 0}, "cot_options", "mediator_steps"));
    REQUIRE(refuses(cot_options{.sampling = {.temperature = 0.5}}, "cot_options", "sampling.temperature"));
}
