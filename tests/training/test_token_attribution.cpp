#include "rlgaf/models/lstm.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using language = lstm_policy<double>;
using judge = lstm_scorer<double>;

language small_lstm() { return language({.vocabulary = 4, .embedding = 3, .hidden = 6, .max_length = 5, .seed = 2}); }
judge small_judge() { return judge({.vocabulary = 4, .embedding = 3, .hidden = 6, .pool = pooling::mean, .seed = 7}); }
std::vector<double> token_rewards(trajectories<language>& t) {
    std::vector<double> all;
    for (std::size_t i = 0; i < rows(t.batch); ++i)
        for (const double r : t.reward.token().row(i)) all.push_back(r);
    return all;
}

/// A scorer with attention, as a user has one: its weights stand in for gradients.
struct attentive {
    using scalar = double;
    struct tape {};
    void evaluate(const token_batch<double>& b, std::span<double> score) {
        for (std::size_t i = 0; i < rows(b); ++i) score[i] = 2;
    }
    tape forward(const token_batch<double>& b, std::span<double> score) {
        evaluate(b, score);
        return {};
    }
    void backward(tape&&, std::span<const double>) {}
    step_report step(const step_options&) { return {.grad_norm = 0, .applied = true}; }
    void discard() {}
    /// Looks at the last token three times as hard as at each of the others.
    void attribute(const token_batch<double>& b, ragged_view<double> weight) {
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t t = 0; t < b.length[i]; ++t) weight.row(i)[t] = t + 1 == b.length[i] ? 0.3 : 0.1;
    }
};

}  // namespace

TEST_CASE("attribute_tokens: by hand, in any micro-batch", "[training]") {
    language policy = small_lstm();
    judge discriminator = small_judge();
    trajectories<language> t;
    part stage{pipeline{logit_reward{}, gradient_redistribution{}}};
    roll_out(policy, {}, {.rows = 24, .group_size = 4}, {3, 0}, t);
    score(discriminator, t);
    REQUIRE(message_of<option_error>([&] {
                shape(stage, t);
            }).find("attribute_tokens before a stage that reads what tokens have to do with the score") !=
            std::string::npos);
    attribute_tokens(discriminator, t);
    shape(stage, t);
    const std::vector<double> whole = token_rewards(t);
    for (std::size_t i = 0; i < rows(t.batch); ++i) {
        double sum = 0, weights = 0;
        for (const double r : t.reward.token().row(i)) sum += r;
        REQUIRE(sum == Approx(t.score[i]).epsilon(1e-13));
        REQUIRE(t.reward.outcome(0)[i] == 0);
        for (const double w : t.token_weight.view().row(i)) weights += std::abs(w);
        for (std::size_t k = 0; k < t.batch.length[i]; ++k)
            REQUIRE(t.reward.token().row(i)[k] ==
                    Approx(t.score[i] * std::abs(t.token_weight.view().row(i)[k]) / weights).margin(1e-13));
    }
    attribute_tokens(discriminator, t, 5);
    shape(stage, t);
    REQUIRE(gap(token_rewards(t), whole) < 1e-13);
    roll_out(policy, {}, {.rows = 24, .group_size = 4}, {3, 1}, t);  // of another round's rows there are none
    score(discriminator, t);
    REQUIRE_THROWS_AS(shape(stage, t), option_error);
}

TEST_CASE("attribute_tokens: a scorer's own weights, and those that are not finite", "[training]") {
    language policy = small_lstm();
    attentive discriminator;
    trajectories<language> t;
    part stage{pipeline{logit_reward{}, gradient_redistribution{}}};
    roll_out(policy, {}, {.rows = 8, .group_size = 4}, {3, 0}, t);
    score(discriminator, t);
    attribute_tokens(discriminator, t);
    shape(stage, t);
    for (std::size_t i = 0; i < rows(t.batch); ++i) {
        const auto paid = t.reward.token().row(i);
        const double all = static_cast<double>(paid.size()) + 2;
        for (std::size_t k = 0; k < paid.size(); ++k)
            REQUIRE(paid[k] == Approx((k + 1 == paid.size() ? 6 : 2) / all).epsilon(1e-13));
    }
    judge broken = small_judge();
    broken.parameters()[0].values[1] = std::nan("");
    broken.parameters()[0].values[4] = std::nan("");
    REQUIRE_THROWS_AS(attribute_tokens(broken, t), numeric_error);
}

TEST_CASE("attribute_tokens: the trainer asks where a stage needs it", "[training]") {
    const auto trained = [](auto... components) {
        language policy = small_lstm();
        judge discriminator = small_judge();
        demonstrations<token_batch<double>> experts{rows_of<double>({{1, 2, 3, 0}, {1, 2, 0}, {2, 3, 0}})};
        adversarial_trainer trainer{policy, discriminator, experts, components...};
        trainer.run({.rounds = 3, .rows = 24, .policy = {.step = {.learning_rate = 0.01}}, .discriminator_warmup = 0});
        REQUIRE(first_nonfinite(std::span<const double>(parameters_of(policy))) == parameters_of(policy).size());
        return parameters_of(policy);
    };
    const pipeline by_weight{logit_reward{}, gradient_redistribution{}};
    const pipeline evenly{logit_reward{}, uniform_redistribution{}};
    const reinforce to_go{.baseline = reinforce_baseline::per_step};
    const auto weighted = trained(to_go, by_weight);
    REQUIRE((weighted == trained(to_go, by_weight)));
    REQUIRE((weighted != trained(to_go, evenly)));
    // What sums a row's rewards sees no difference.
    REQUIRE(gap(trained(grpo{}, by_weight), trained(grpo{}, evenly)) < 1e-6);
    trained(remax{}, by_weight);  // of greedy answers too
}
