#include "rlgaf/models/lstm.hpp"
#include "rlgaf/training/fit_sqil.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

/// The loss by the table itself: values of actions are alpha times its logits. `fixed`: V of the next state.
double loss_by_table(const table_model& policy, const table_model& fixed, const batch& real, const batch& fake,
                     const sqil& o) {
    const auto value = [&](const table_model& p, std::size_t context) {
        double sum = 0;
        for (std::size_t v = 0; v < p.contexts().vocabulary(); ++v) sum += std::exp(p.logits()(context, v));
        return o.alpha * std::log(sum);
    };
    double total = 0;
    for (const batch* b : {&real, &fake}) {
        double sum = 0, count = 0;
        const double reward = (b == &real ? 1 : 0) - (o.end == sqil_end::absorbing ? 0.5 : 0);
        for (std::size_t i = 0; i < rows(*b); ++i) {
            std::vector<std::pair<std::size_t, std::size_t>> seen;  // context and token of what the mask includes
            std::size_t context = policy.contexts().start();
            for (std::size_t t = 0; t < b->length[i]; ++t) {
                const std::int32_t token = b->row(i)[t];
                if (b->mask.empty() || mask(*b).row(i)[t]) seen.emplace_back(context, static_cast<std::size_t>(token));
                context = policy.contexts().after(context, token);
            }
            for (std::size_t k = 0; k < seen.size(); ++k) {
                const bool last = k + 1 == seen.size();
                if (last && b->end[i] == row_end::truncated) continue;
                const double next = last ? 0 : value(o.residual_gradient ? policy : fixed, seen[k + 1].first);
                const double delta =
                    o.alpha * policy.logits()(seen[k].first, seen[k].second) - reward - o.discount * next;
                sum += delta * delta, count += 1;
            }
        }
        total += sum / count;
    }
    return total;
}

}  // namespace

TEST_CASE("fit_sqil: one step goes down the slope of the Bellman error by the logits, both forms", "[training]") {
    const batch plain = rows_of<double>({{1, 2, 3, 0}, {3, 3, 3, 3, 3}, {2, 3, 0}, {0}, {2, 2, 3, 0}});
    batch masked = plain;
    masked.mask.assign(masked.token.size(), 1);
    masked.mask[1] = masked.mask[2] = masked.mask[8] = masked.mask[12] = 0;
    for (const batch& real : {plain, masked})
        for (const bool residual : {false, true})
            for (const sqil_end end : {sqil_end::zero, sqil_end::absorbing})
                for (const std::size_t micro : {0u, 1u, 4u}) {
                    table_model policy(small_policy());
                    const table_model before = policy;
                    const sqil loss{.alpha = 0.7, .discount = 0.9, .residual_gradient = residual, .end = end};
                    keep_samples kept;
                    keep_reports reports;
                    fit_sqil(policy, {}, real,
                             {.rounds = 1,
                              .rows = 5,
                              .replay_rows = 0,
                              .loss = loss,
                              .step = {.learning_rate = 0.5, .max_norm = 0},
                              .micro_batch_rows = micro},
                             kept, reports);
                    const auto value = [&](const table_model& p) {
                        return loss_by_table(p, before, real, kept.samples[0], loss);
                    };
                    REQUIRE(reports.reports[0].policy_loss == Approx(value(before)));
                    std::vector<double> moved = logits_of(policy), expected;
                    table_model near = before;
                    const auto logits = near.parameters()[0].values;
                    for (std::size_t i = 0; i < moved.size(); ++i) {
                        moved[i] = (before.logits().data()[i] - moved[i]) / 0.5;
                        expected.push_back(slope([&] { return value(near); }, logits[i]));
                    }
                    REQUIRE(relative_gap(expected, moved) < 1e-8);
                    // A constant on all logits of a state: no softmax sees it, this gradient does.
                    double constant = 0;
                    for (std::size_t v = 0; v < 4; ++v) constant += moved[before.contexts().start() * 4 + v];
                    REQUIRE(std::abs(constant) > 1e-3);
                }
}

TEST_CASE("fit_sqil on the LSTM: gradients of all parameters are slopes of the Bellman error", "[training]") {
    lstm_policy<double> policy({.vocabulary = 4, .embedding = 3, .hidden = 4, .max_length = 5, .seed = 3});
    const batch both = rows_of<double>({{1, 2, 3, 0}, {3, 3, 3, 3, 3}, {2, 0}, {1, 2, 2, 1, 3}, {0}});
    detail::sqil_scratch<double> s;
    s.expert = {1, 1, 0, 0, 0}, s.truncated = {0, 1, 0, 1, 0};
    const sqil loss{.alpha = 0.7, .discount = 0.9, .residual_gradient = true};
    for (const std::size_t micro : {0u, 2u}) {
        const auto value = [&] { return detail::accumulate_sqil(policy, both, loss, micro, true, s).loss; };
        policy.discard();
        value();
        std::vector<std::vector<double>> gradient;
        for (const auto& block : policy.parameters())
            gradient.emplace_back(block.gradients.begin(), block.gradients.end());
        double largest = 0;
        for (std::size_t k = 0; k < gradient.size(); ++k) {
            const auto values = policy.parameters()[k].values;
            for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 12) {
                REQUIRE(gap(slope(value, values[i]), gradient[k][i]) < 1e-7);
                largest = std::fmax(largest, std::abs(gradient[k][i]));
            }
        }
        REQUIRE(largest > 0.1);
    }
}

TEST_CASE("fit_sqil: the policy comes to speak like the demonstrations; with a reward of 0 for all it does not",
          "[training]") {
    table_model data(tiny_policy(2, 1));
    std::vector<std::uint64_t> id(1000);
    count_up(std::span(id));
    batch demonstrations = data.rollout({}, id, {}, {77, 0});
    demonstrations.log_prob.clear();
    const auto trained = [&](const sqil& loss, std::uint64_t seed) {
        table_model policy(tiny_policy(1, 1.5));
        fit_sqil(policy, {}, demonstrations,
                 {.rounds = 500,
                  .loss = loss,
                  .step = {.learning_rate = 60, .max_norm = 0},
                  .learning_rate = {.shape = schedule_shape::linear, .to = 0.05, .steps = 500},
                  .seed = seed});
        return kl_of(data, policy);
    };
    table_model start(tiny_policy(1, 1.5));
    const double before = kl_of(data, start);
    REQUIRE(before > 0.3);
    for (const std::uint64_t seed : {1u, 2u}) {
        const double semi = trained({.alpha = 0.05}, seed),
                     full = trained({.alpha = 0.05, .residual_gradient = true}, seed),
                     control = trained({.alpha = 0.05, .expert_reward = 0}, seed),
                     endless = trained({.alpha = 0.05, .end = sqil_end::zero}, seed);
        INFO(before << " -> semi-gradient " << semi << ", residual " << full << ", control " << control << ", zero "
                    << endless);
        CHECK((semi < 0.2 * before && full < 0.2 * before));
        CHECK(control > before);
        CHECK(endless > before);  // every step earns something, so that the end is put off
    }
}

TEST_CASE("fit_sqil: demonstrations pass in turn, past rows are drawn, observers may stop, the seed decides",
          "[training]") {
    const batch real = rows_of<double>({{1, 2, 0}, {2, 0}, {1, 1, 0}, {1, 0}, {0}});
    const auto trained = [&](sqil_options options) {
        table_model policy(tiny_policy(1, 1));
        options.step = {.learning_rate = 1, .max_norm = 0};
        fit_sqil(policy, {}, real, options);
        return logits_of(policy);
    };
    const sqil_options options{.rounds = 4, .rows = 3};
    REQUIRE(same_bits(trained(options), trained(options)));
    sqil_options seed = options, fresh = options, twice = options;
    seed.seed = 2, fresh.replay_rows = 0, twice.steps_per_round = 2;
    for (const sqil_options& other : {seed, fresh, twice}) REQUIRE(!same_bits(trained(options), trained(other)));
    table_model once(tiny_policy(1, 1));
    keep_reports kept;
    const round_report last =
        fit_sqil(once, {}, real, {.rounds = 3, .rows = 2, .steps_per_round = 3, .step = {.learning_rate = 0.1}}, kept);
    REQUIRE((kept.reports.size() == 3 && last.round == 3 && last.policy_steps == 3 && last.discarded_steps == 0));
    REQUIRE((last.tokens > 0 && last.length_mean == Approx(last.tokens / 2) && last.score_policy < 1));

    struct {
        std::size_t begins = 0, rounds = 0, ends = 0;
        bool on_round(const round_report& r) { return r.round == 2; }
        void on_begin(const run_info& i) { ++begins, rounds = i.rounds; }
        void on_end(const round_report&) { ++ends; }
    } watch;
    REQUIRE(fit_sqil(once, {}, real, options, watch).round == 2);
    REQUIRE((watch.begins == 1 && watch.rounds == 4 && watch.ends == 1));
}

TEST_CASE("fit_sqil: float learns what double learns", "[training]") {
    const auto trained = [](auto policy) {
        using T = typename decltype(policy)::scalar;
        fit_sqil(policy, {}, rows_of<T>({{1, 2, 0}, {2, 0}, {1, 1, 0}, {1, 0}, {0}}),
                 {.rounds = 3, .rows = 4, .loss = {.residual_gradient = true}, .step = {.learning_rate = 1}});
        return parameters_of(policy);
    };
    REQUIRE(relative_gap(trained(table_model(tiny_policy(1, 1))), trained(ngram_policy<float>(tiny_policy(1, 1)))) <
            1e-5);
}

TEST_CASE("fit_sqil: samples answer the prompts of the round's demonstrations", "[training]") {
    using asked = ngram_policy<double, token_prompts>;
    asked policy(small_policy());
    token_prompts prompts;
    batch real;
    for (const std::int32_t word : {1, 2, 3}) {
        const std::vector<std::int32_t> one = {word}, answer = {word, 0};
        prompts.add(one);
        real.add(answer, row_end::terminated);
        real.prompt.add(one);
    }
    struct {
        std::vector<std::int32_t> seen;
        void on_rollout(const round_report&, const batch& b) {
            for (std::size_t i = 0; i < rows(b); ++i) seen.push_back(b.prompt.row(i)[0]);
        }
    } watch;
    fit_sqil(policy, prompts, real, {.rounds = 3, .rows = 2}, watch);
    std::sort(watch.seen.begin(), watch.seen.end());
    REQUIRE(watch.seen == std::vector<std::int32_t>{1, 1, 2, 2, 3, 3});
    token_prompts few;
    const std::vector<std::int32_t> one = {1};
    few.add(one);
    REQUIRE(contains(message_of<shape_error>([&] { fit_sqil(policy, few, real, {}); }),
                     "fit_sqil: prompts: expected 3 elements, got 1"));
}

TEST_CASE("fit_sqil: what cannot be is refused before anything moves", "[training]") {
    table_model policy(tiny_policy(1, 1));
    const std::vector<double> before = logits_of(policy);
    const batch real = rows_of<double>({{1, 2, 0}, {2, 0}});
    const auto message = [&](const sqil_options& o) {
        return message_of<option_error>([&] { fit_sqil(policy, {}, real, o); });
    };
    REQUIRE(contains(message_of<option_error>([&] { fit_sqil(policy, {}, batch{}, {}); }),
                     "fit_sqil: demonstrations: expected at least one row"));
    REQUIRE(contains(message({.rows = 0}), "sqil_options: .rows"));
    REQUIRE(contains(message({.steps_per_round = 0}), ".steps_per_round"));
    REQUIRE(contains(message({.loss = {.alpha = 0}}), "sqil: .alpha"));
    REQUIRE(contains(message({.sampling = {.temperature = 0.7}}), "sqil_options: .sampling.temperature"));
    struct normalised : table_model {  // shows log-probs
        using table_model::table_model;
        tape forward(const batch& b, policy_outputs<double> out, logit_visitor<double> visitor) {
            const auto shift = [&](std::size_t token, std::span<const double> z, std::span<double> d) {
                std::vector<double> log_prob(z.size());
                log_softmax(z, 1, std::span(log_prob));
                visitor(token, log_prob, d);
            };
            return table_model::forward(b, out, shift);
        }
        using table_model::forward;
    } wrong(tiny_policy(1, 1));
    REQUIRE(contains(message_of<option_error>([&] { fit_sqil(wrong, {}, real, {}); }),
                     "fit_sqil: policy: expected logits before the softmax, got log-probs"));
    policy.parameters()[0].values[policy.contexts().start() * 3 + 1] = not_a_number;
    REQUIRE(message_of<numeric_error>([&] { fit_sqil(policy, {}, real, {}); }) != "nothing thrown");
    policy.parameters()[0].values[policy.contexts().start() * 3 + 1] = before[policy.contexts().start() * 3 + 1];
    REQUIRE(same_bits(before, logits_of(policy)));
}
