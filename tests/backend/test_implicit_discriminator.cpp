#include "rlgaf/backend/implicit_discriminator.hpp"
#include "rlgaf/models/ngram.hpp"
#include "rlgaf/models/two_turn.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
using table = ngram_policy<double>;
using implicit = implicit_discriminator<table>;
static_assert(scorer_backend<implicit, token_batch<double>>);

}  // namespace

TEST_CASE("implicit_discriminator: scores are scaled log-ratios, masked tokens take no part") {
    table policy(small_policy()), reference(small_policy());
    policy.logits()(0, 1) += 1;
    policy.logits()(2, 3) -= 2;
    implicit scorer(policy, reference, 0.7);
    const std::vector<std::int32_t> row = {1, 2, 3, 0};
    const std::vector<std::uint8_t> all = {1, 1, 1, 1}, some = {1, 0, 1, 0};
    token_batch<double> b;
    b.add(row, row_end::terminated, {}, 1, all);
    b.add(row, row_end::terminated, {}, 1, some);
    std::vector<double> score(2);
    scorer.evaluate(b, score);
    ragged_buffer<double> p, q;
    p.assign(lengths(b)), q.assign(lengths(b));
    policy.evaluate(b, {.log_prob = p.view()});
    reference.evaluate(b, {.log_prob = q.view()});
    double whole = 0;
    for (std::size_t k = 0; k < 4; ++k) whole += p.view().row(0)[k] - q.view().row(0)[k];
    REQUIRE(gap(score[0], 0.7 * whole) < 1e-12);
    const double part = p.view().row(1)[0] - q.view().row(1)[0] + p.view().row(1)[2] - q.view().row(1)[2];
    REQUIRE(gap(score[1], 0.7 * part) < 1e-12);
}

TEST_CASE("implicit_discriminator: gradients by finite differences") {
    table policy(small_policy()), reference(small_policy());
    for (auto& x : reference.logits()) x *= 0.5;
    implicit scorer(policy, reference, 0.3);
    const auto b = rows_of<double>({{1, 2, 3, 0}, {3, 3, 0}, {0}});
    const std::vector<double> d = {1, -2, 0.5};
    std::vector<double> score(3);
    scorer.backward(scorer.forward(b, score), d);
    const std::vector<double> got = gradients_of(policy);
    std::size_t i = 0;
    for (auto& block : policy.parameters())
        for (double& x : block.values) {
            const auto value = [&] {
                scorer.evaluate(b, score);
                return d[0] * score[0] + d[1] * score[1] + d[2] * score[2];
            };
            REQUIRE(gap(slope(value, x), got[i++]) < 1e-7);
        }
}

TEST_CASE("bradley_terry on an implicit discriminator is SPIN's loss, value and gradient") {
    table policy(small_policy()), twin(small_policy()), reference(small_policy());
    for (auto& x : reference.logits()) x *= 0.5;
    const auto real = rows_of<double>({{1, 2, 3, 0}, {2, 3, 0}}), fake = rows_of<double>({{3, 3, 0}, {1, 1, 1, 0}});
    const std::vector<std::uint32_t> pairs = {0, 1};
    implicit scorer(policy, reference, 0.1);
    part loss{bradley_terry{.score_penalty = 0}};
    std::vector<double> score(4), d(4);
    const auto both = concat(real, fake);
    auto tape = scorer.forward(both, score);
    const auto stats = loss(
        discriminator_terms<double>{
            std::span<const double>(score).first(2), std::span<const double>(score).subspan(2), {pairs}},
        std::span(d).first(2), std::span(d).subspan(2));
    scorer.backward(static_cast<implicit::tape&&>(tape), d);

    ragged_buffer<double> p, q, dp;
    p.assign(lengths(both)), q.assign(lengths(both)), dp.assign(lengths(both));
    reference.evaluate(both, {.log_prob = q.view()});
    auto own = twin.forward(both, {.log_prob = p.view()});
    const std::vector<preference_pair> chosen = {{0, 2}, {1, 3}};
    workspace work;
    const preference_stats spun = spin{.lambda = 0.1}(
        preference_terms<double>{
            .log_prob = std::as_const(p).view(), .reference_log_prob = std::as_const(q).view(), .pairs = chosen},
        work, dp.view());
    twin.backward(std::move(own), {.d_log_prob = std::as_const(dp).view()});
    REQUIRE(gap(stats.loss, spun.loss) < 1e-12);
    REQUIRE(gap(gradients_of(policy), gradients_of(twin)) < 1e-12);
}

TEST_CASE("implicit_discriminator refuses a scale that is not positive") {
    table policy(small_policy()), reference(small_policy());
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE_THROWS_AS(implicit(policy, reference, x), option_error);
}
