#include "rlgaf/backend/row_features.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
/// How often each token follows each other one, the start counting as the end of text: 4 x 4 counts.
auto count_bigrams() {
    return row_features<ngram_policy<double>>(16, [](const token_batch<double>& b, std::size_t i, std::span<double> x) {
        std::size_t before = 0;
        for (const std::int32_t token : b.row(i)) {
            const auto now = static_cast<std::size_t>(token);
            x[4 * before + now] += 1;
            before = now;
        }
    });
}
}  // namespace

TEST_CASE("row_features: the callable's numbers, row after row") {
    auto features = count_bigrams();
    static_assert(scorer_backend<decltype(features), token_batch<double>>);
    const auto b = rows_of<double>({{1, 2, 0}, {3, 3, 3}});
    std::vector<double> x(32, not_a_number), expected(32);
    expected[1] = expected[4 + 2] = expected[8] = 1;
    expected[16 + 3] = 1, expected[16 + 15] = 2;
    features.evaluate(b, x);
    REQUIRE(x == expected);
    REQUIRE(features.width() == 16);
    REQUIRE(message_of<shape_error>([&] { features.evaluate(b, std::span(x).first(2)); }) ==
            "rlgaf::row_features: x: expected 32 elements, got 2");
    REQUIRE_THROWS_AS(row_features<ngram_policy<double>>(0, [](const auto&, std::size_t, std::span<double>) {}),
                      option_error);
}

TEST_CASE("row_features in a trainer that would train them: the error says what to do") {
    players<double> who;
    auto features = count_bigrams();
    adversarial_trainer trainer{who.policy, features, who.experts, reinforce{}, mmd_reward{}};
    REQUIRE(message_of<option_error>([&] { trainer.run(short_run(1)); }) ==
            "rlgaf::row_features: discriminator_updates: expected 0, or no_experts for experts: fixed features do not "
            "train, got a step");
}

TEST_CASE("rewards of fixed features: a policy comes nearer to the demonstrations without a discriminator",
          "[training]") {
    const auto gain = [](std::uint64_t seed, auto reward) {
        players<double> who(adamw{});
        auto features = count_bigrams();
        const double before = log_likelihood(who.policy, who.experts.all());
        adversarial_options options = short_run(150, 0.02);
        options.rows = 64, options.seed = seed, options.discriminator_updates = 0;
        adversarial_trainer trainer{who.policy, features, who.experts, grpo{.group_size = 0}, reward};
        trainer.run(options);
        return log_likelihood(who.policy, who.experts.all()) - before;
    };
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        const double of_constants = gain(seed, as_reward("nothing", [](const auto&, std::size_t) { return 1.0; }));
        const double mmd = gain(seed, mmd_reward{}), transport = gain(seed, optimal_transport_reward{});
        CAPTURE(seed, of_constants, mmd, transport);
        REQUIRE(mmd > 1);
        REQUIRE(transport > 1);
        REQUIRE(of_constants < 0.1);
    }
}

TEST_CASE("step_transport_reward: a policy learns the steps of its demonstrations", "[training]") {
    const auto steps = [](const token_batch<double>& b, std::size_t i, std::vector<double>& x) {
        std::size_t before = 0;
        for (const std::int32_t token : b.row(i)) {
            x.resize(x.size() + 16);
            x[x.size() - 16 + 4 * before + static_cast<std::size_t>(token)] = 1;
            before = static_cast<std::size_t>(token);
        }
    };
    const auto texts = rows_of<double>({{1, 2, 3, 0}, {3, 0}});
    std::vector<std::vector<double>> demonstrations(2);
    for (std::size_t i = 0; i < 2; ++i) steps(texts, i, demonstrations[i]);
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        ngram_policy<double> policy(small_policy(adamw{}));
        true_reward nothing([](const auto&, std::size_t) { return 0.0; });
        adversarial_options options = short_run(200, 0.02);
        options.rows = 64, options.seed = seed;
        adversarial_trainer trainer{policy, nothing, no_experts, reinforce{.baseline = reinforce_baseline::per_step},
                                    step_transport_reward(steps, 16, demonstrations)};
        trainer.run(options);
        std::size_t copies = 0;
        const auto& last = trainer.last_round().batch;
        for (std::size_t i = 0; i < rows(last); ++i)
            for (std::size_t k = 0; k < 2; ++k)
                copies += std::equal(last.row(i).begin(), last.row(i).end(), texts.row(k).begin(), texts.row(k).end());
        CAPTURE(seed, copies);
        REQUIRE(copies > 48);
    }
}
