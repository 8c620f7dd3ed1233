#include "rlgaf/backend/airl_scorer.hpp"
#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/models/ngram.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
using table = ngram_policy<double>;
using scores = ngram_scorer<double>;
using airl = airl_scorer<scores, table>;
using rows_d = token_batch<double>;
static_assert(scorer_backend<airl, rows_d> && scores_tokens<airl, rows_d> && flat_parameters<airl>);

/// One row with a masked token in it, and two without.
rows_d some_rows() {
    rows_d b;
    const std::vector<std::vector<std::int32_t>> text = {{1, 2, 3, 0}, {3, 0}, {2}};
    const std::vector<std::uint8_t> mask = {1, 0, 1, 1};
    b.add(text[0], row_end::terminated, {}, 1, mask);
    b.add(text[1], row_end::terminated, {}, 1, std::vector<std::uint8_t>{1, 1});
    b.add(text[2], row_end::truncated, {}, 1, std::vector<std::uint8_t>{1});
    return b;
}
}  // namespace

TEST_CASE("airl_scorer: scores less log-probs, of tokens and of rows; masked slots are not touched") {
    table policy(small_policy());
    scores f(small_scorer());
    airl scorer(f, policy);
    const rows_d b = some_rows();
    ragged_buffer<double> lp, own, h;
    for (auto* x : {&lp, &own, &h}) x->assign(lengths(b));
    policy.evaluate(b, {.log_prob = lp.view()});
    f.evaluate_tokens(b, own.view());
    const auto forwarded = [&](bool trained) {
        h.view().row(0)[1] = 7;
        if (trained)
            (void)scorer.forward_tokens(b, h.view());
        else
            scorer.evaluate_tokens(b, h.view());
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t t = 0; t < b.length[i]; ++t)
                if (i != 0 || t != 1)
                    REQUIRE(gap(h.view().row(i)[t], own.view().row(i)[t] - lp.view().row(i)[t]) < 1e-14);
    };
    forwarded(false), forwarded(true);

    std::vector<double> row(3), expected(3);
    f.evaluate(b, expected);
    for (std::size_t i = 0; i < 3; ++i) expected[i] -= masked_row_sum(std::as_const(lp).view(), mask_of(b), i);
    scorer.evaluate(b, row);
    REQUIRE(gap(row, expected) < 1e-14);
    (void)scorer.forward(b, row);
    REQUIRE(gap(row, expected) < 1e-14);
}

TEST_CASE("airl_scorer: the loss's gradient is the inner scorer's; the policy gets none and moves nowhere") {
    table policy(small_policy());
    scores f(small_scorer()), twin(small_scorer());
    airl scorer(f, policy);
    const rows_d b = some_rows();
    const std::vector<double> before = parameters_of(policy), d = {1, -2, 0.5};
    std::vector<double> row(3);
    scorer.backward(scorer.forward(b, row), d);
    twin.backward(twin.forward(b, row), d);
    ragged_buffer<double> score, d_score;
    score.assign(lengths(b)), d_score.assign(lengths(b));
    for (std::size_t i = 0; i < rows(b); ++i)
        for (double& x : d_score.view().row(i)) x = 0.3 * static_cast<double>(i) - 1;
    scorer.backward_tokens(scorer.forward_tokens(b, score.view()), std::as_const(d_score).view());
    twin.backward_tokens(twin.forward_tokens(b, score.view()), std::as_const(d_score).view());
    REQUIRE(gradients_of(f) == gradients_of(twin));
    for (const auto& block : policy.parameters())
        for (const double g : block.gradients) REQUIRE(g == 0);
    scorer.step({.learning_rate = 0.1});
    twin.step({.learning_rate = 0.1});
    REQUIRE(parameters_of(f) == parameters_of(twin));
    REQUIRE(parameters_of(policy) == before);
}

TEST_CASE("airl_scorer passes the conformance checks of a scorer, those of tokens too") {
    table policy(small_policy());
    scores f(small_scorer(adamw{}));
    airl scorer(f, policy);
    const auto report = check_conformance_scorer(scorer, concat(some_rows(), rows_of<double>({{3, 1, 0}, {2, 2, 3}})));
    INFO(to_string(report));
    REQUIRE(report.ok());
    REQUIRE(!report.find("gradient of token scores")->skipped());
}

TEST_CASE("airl_scorer refuses a scorer with several numbers a row") {
    table policy(small_policy());
    struct wide : scores {
        using scores::scores;
        std::size_t width() const { return 2; }
    } f(small_scorer());
    airl_scorer<wide, table> scorer(f, policy);
    std::vector<double> row(3);
    REQUIRE(message_of<shape_error>([&] { scorer.evaluate(some_rows(), row); }) ==
            "rlgaf::airl_scorer: numbers a row of the scorer: expected 1 elements, got 2");
}

TEST_CASE("AIRL in a trainer: the policy comes nearer to the demonstrations", "[training]") {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        players<double> who(adamw{});
        airl judge(who.discriminator, who.policy);
        const double before = log_likelihood(who.policy, who.experts.all());
        adversarial_options options = short_run(150, 0.02);
        options.rows = 64;
        options.seed = seed;
        adversarial_trainer trainer{who.policy,
                                    judge,
                                    who.experts,
                                    on_tokens{bce{}},
                                    reinforce{.baseline = reinforce_baseline::per_step},
                                    token_score_reward{.map = score_map::logit}};
        const round_report last = trainer.run(options);
        const double after = log_likelihood(who.policy, who.experts.all());
        CAPTURE(seed, before, after);
        REQUIRE(last.discriminator_steps == options.discriminator_updates);
        REQUIRE(after > before + 1);
    }
}
