#include "rlgaf/training/fit_spin.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

ngram_policy_options tiny(std::uint64_t seed, double spread = 1) {
    return {.shape = {.vocabulary = 3, .order = 2}, .max_length = 3, .initial_spread = spread, .seed = seed};
}
/// Expected gradient of an iteration's first step by the logits: all (demonstration, sample) pairs by probability.
std::vector<double> expected_step(table_model& data, table_model& policy) {
    const auto real = enumerate(data), fake = enumerate(policy);
    const batch both = concat(real.rows, fake.rows);
    const std::size_t n = real.probability.size();
    std::vector<preference_pair> pairs;
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < fake.probability.size(); ++j)
            pairs.push_back({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(n + j),
                             real.probability[i] * fake.probability[j]});
    table_model moved = policy;
    fit_dpo(moved, policy, both, pairs, {.pairs_per_step = pairs.size(), .step = {.learning_rate = 1, .max_norm = 0}},
            spin{.lambda = 0.5});
    std::vector<double> step = parameters_of(policy);
    const std::vector<double> after = parameters_of(moved);
    for (std::size_t i = 0; i < step.size(); ++i) step[i] -= after[i];
    return step;
}
double largest(const std::vector<double>& x) { return gap(x, std::vector<double>(x.size(), 0.0)); }

}  // namespace

TEST_CASE("SPIN's fixed point: a policy that speaks like the demonstrations has no expected gradient", "[training]") {
    table_model policy(tiny(1)), data(tiny(2));
    table_model same = policy.clone();
    REQUIRE(largest(expected_step(same, policy)) < 1e-14);
    const std::vector<double> step = expected_step(data, policy);
    REQUIRE(largest(step) > 0.01);
    // Elsewhere it is -lambda / 2 times the gradient of the demonstrations' likelihood.
    const auto all = enumerate(data);
    const std::vector<double> likelihood =
        log_likelihood_gradient(policy, all.rows, [&](std::size_t i, std::size_t) { return all.probability[i]; });
    for (std::size_t i = 0; i < likelihood.size(); ++i) REQUIRE(step[i] == Approx(-0.25 * likelihood[i]).margin(1e-14));
}

TEST_CASE("fit_spin: iterations bring the policy to the demonstrations, and it stays there", "[training]") {
    table_model data(tiny(2)), policy(tiny(1));
    std::vector<std::uint64_t> id(800);
    count_up(std::span(id));
    batch demonstrations = data.rollout({}, id, {}, {77, 0});
    demonstrations.log_prob.clear();
    const double before = kl_of(data, policy);
    std::vector<double> kl;
    for (std::uint64_t k = 0; k < 6; ++k) {
        fit_spin(policy, {}, demonstrations,
                 {.iterations = 1,
                  .fit = {.epochs = 4, .pairs_per_step = 200, .step = {.learning_rate = 2, .max_norm = 0}, .seed = k},
                  .loss = {.lambda = 1}});
        kl.push_back(kl_of(data, policy));
    }
    INFO(before << " -> " << kl[0] << ", " << kl[1] << ", " << kl[5]);
    REQUIRE((before > 0.2 && kl[0] < 0.2 * before && kl[4] < 0.01 && kl[5] < 0.01));
}

TEST_CASE("fit_spin is, iteration by iteration, fit_dpo against the policy as it was", "[training]") {
    table_model policy(tiny(1)), by_hand = policy;
    const batch demonstrations = rows_of<double>({{1, 2, 0}, {2, 0}, {1, 1, 0}, {1, 0}});
    const spin_options options{.iterations = 2,
                               .fit = {.epochs = 2, .pairs_per_step = 3, .step = {.learning_rate = 0.5}, .seed = 5},
                               .loss = {.lambda = 0.3}};
    keep_reports kept;
    const round_report last = fit_spin(policy, {}, demonstrations, options, kept);
    REQUIRE((last.round == 8 && last.rounds == 8 && kept.reports.size() == 8));
    for (std::uint32_t k = 0; k < 2; ++k) {
        table_model reference = by_hand.clone();
        const std::vector<std::uint64_t> id = {0, 1, 2, 3};
        const batch samples = by_hand.rollout({}, id, {}, {5, k});
        const batch both = concat(demonstrations, samples);
        std::vector<preference_pair> pairs = {{0, 4}, {1, 5}, {2, 6}, {3, 7}};
        // The order of pairs is the iteration's own.
        std::vector<std::size_t> order = {0, 1, 2, 3};
        for (std::size_t epoch = 0; epoch < 2; ++epoch) {
            shuffle(std::span(order), {5, k}, epoch);
            for (const std::size_t first : {0u, 3u}) {
                std::vector<preference_pair> now;
                for (std::size_t i = first; i < std::min<std::size_t>(first + 3, 4); ++i)
                    now.push_back(pairs[order[i]]);
                fit_dpo(by_hand, reference, both, now, {.step = {.learning_rate = 0.5}}, spin{.lambda = 0.3});
            }
        }
        REQUIRE(kept.reports[4 * k].tokens == static_cast<double>(samples.token.size()));
        REQUIRE(kept.reports[4 * k + 1].tokens == 0);
        REQUIRE(kept.reports[4 * k + 3].length_mean == static_cast<double>(samples.token.size()) / 4);
        REQUIRE(kept.reports[4 * k].accuracy == Approx(0.5));  // it begins at the reference
    }
    REQUIRE(gap(parameters_of(policy), parameters_of(by_hand)) < 1e-14);
}

TEST_CASE("fit_spin: prompts, masks, and what cannot be", "[training]") {
    using asked = ngram_policy<double, token_prompts>;
    asked policy({.shape = {.vocabulary = 5, .order = 2}, .max_length = 3});
    token_prompts prompts;
    batch demonstrations;
    for (std::int32_t i = 0; i < 40; ++i) {
        const std::int32_t question[] = {3 + i % 2}, answer[] = {1 + i % 2, 0};
        prompts.add(question);
        const std::uint8_t own[] = {1, static_cast<std::uint8_t>(i % 4 != 0)};
        demonstrations.add(answer, row_end::terminated, {}, 1, own);
    }
    demonstrations.prompt = prompts;
    const auto answers = [&] {
        ragged_buffer<double> log_prob;
        log_prob.assign(lengths(demonstrations));
        policy.evaluate(demonstrations, {.log_prob = log_prob.view()});
        return sum(std::span<const double>(std::as_const(log_prob).flat())) / 40;
    };
    const double before = answers();
    fit_spin(policy, prompts, demonstrations,
             {.iterations = 4, .fit = {.epochs = 10, .step = {.learning_rate = 2, .max_norm = 0}}});
    REQUIRE(answers() > before + 1);

    const std::vector<double> now = parameters_of(policy);
    const auto refused = [&](spin_options o) {
        return message_of<option_error>([&] { fit_spin(policy, prompts, demonstrations, o); });
    };
    REQUIRE(contains(refused({.iterations = 0}), "spin_options: .iterations"));
    REQUIRE(contains(refused({.fit = {.epochs = 0}}), "dpo_options: .epochs"));
    REQUIRE(contains(refused({.loss = {.lambda = -1}}), "spin: .lambda"));
    REQUIRE(contains(refused({.sampling = {.temperature = 0}}), ".temperature"));
    REQUIRE(contains(message_of<option_error>([&] { fit_spin(policy, {}, batch{}, {}); }), "at least one row"));
    token_prompts few;
    few.add(prompts.row(0));
    REQUIRE(contains(message_of<shape_error>([&] { fit_spin(policy, few, demonstrations, {}); }), "prompts"));
    REQUIRE(same_bits(now, parameters_of(policy)));
}
