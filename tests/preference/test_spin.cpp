#include "rlgaf/math/categorical.hpp"
#include "rlgaf/preference/spin.hpp"
#include "support/pair_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::spin;

namespace {
using numbers = std::vector<double>;

/// A policy of one choice among three, trained on the expectation of SPIN's loss: every demonstration against every
/// sample of the previous iterate, weighted by how often they meet.
struct three_choices {
    numbers logit = {0, 0, 0};

    numbers log_prob() const {
        numbers l(3);
        rlgaf::log_softmax(std::span<const double>(logit), 1.0, std::span<double>(l));
        return l;
    }
    /// The gradient by the logits on demonstrations of these frequencies, with the reference's log-probs.
    numbers gradient(double lambda, const numbers& demonstrated, const numbers& reference) const {
        const numbers l = log_prob();
        pair_case c;
        for (int twice = 0; twice < 2; ++twice)
            for (std::size_t a = 0; a < 3; ++a) {
                c.log_prob.push_back({l[a]});
                c.reference_log_prob.push_back({reference[a]});
            }
        for (std::uint32_t a = 0; a < 3; ++a)
            for (std::uint32_t b = 0; b < 3; ++b)
                c.pairs.push_back({a, 3 + b, demonstrated[a] * std::exp(reference[b])});
        const table d = run(spin{.lambda = lambda}, c).gradient;
        numbers d_logit(3);
        for (std::size_t row = 0; row < 6; ++row)
            rlgaf::log_softmax_backward(std::span<const double>(l), row % 3, 1.0, d[row][0],
                                        std::span<double>(d_logit));
        return d_logit;
    }
};
const numbers demonstrated = {0.6, 0.3, 0.1};
}  // namespace

TEST_CASE("spin keeps the promises of a pair loss: DPO with beta = lambda") {
    check_pair_loss(
        "dpo", [](dice& d) { return spin{.lambda = d.uniform(0.05, 2)}; }, [](const spin& s) { return s.lambda; },
        [](const spin& s, const row_sums& a, const row_sums& b) {
            return std::log(1 + std::exp(-(s.lambda * a.ratio - s.lambda * b.ratio)));
        },
        [](const auto&...) { return false; }, 2000);
}

TEST_CASE("spin on the formula sheet's DPO vector, lambda 0.1") {
    const pair_result r = run(spin{}, pair_case{{{-5}, {-7}}, {{-6}, {-6.5}}, {}, {{0, 1}}});
    REQUIRE(gap(r.stats.loss, 0.620957) < 1e-6);
    REQUIRE(gap(r.gradient, table{{-0.046257}, {0.046257}}) < 1e-6);
}

TEST_CASE("spin is at rest where the previous iterate is the demonstrations' distribution") {
    three_choices policy;
    for (std::size_t a = 0; a < 3; ++a) policy.logit[a] = std::log(demonstrated[a]);
    REQUIRE(gap(policy.gradient(0.1, demonstrated, policy.log_prob()), {0, 0, 0}) < 1e-15);
    const numbers other = {0.2, 0.3, 0.5};
    REQUIRE(gap(policy.gradient(0.1, other, policy.log_prob()), {0, 0, 0}) > 1e-3);
}

TEST_CASE("spin: with lambda 1 one solved iteration gives the demonstrations' distribution; then it stays there") {
    three_choices policy;
    for (int iteration = 0; iteration < 2; ++iteration) {
        const numbers reference = policy.log_prob();  // the previous iterate
        for (int step = 0; step < 600; ++step) {
            const numbers g = policy.gradient(1, demonstrated, reference);
            for (std::size_t a = 0; a < 3; ++a) policy.logit[a] -= 4 * g[a];
        }
        const numbers l = policy.log_prob();
        for (std::size_t a = 0; a < 3; ++a) REQUIRE(gap(std::exp(l[a]), demonstrated[a]) < 1e-6);
    }
}

TEST_CASE("spin_pairs: demonstration before sample, several samples may share one") {
    const std::vector<std::uint32_t> of = {1, 0, 1};
    pair_list pairs = {{9, 9, 9}};
    rlgaf::spin_pairs(2, {of}, pairs);
    REQUIRE(pairs.size() == 3);
    for (std::uint32_t j = 0; j < 3; ++j) {
        REQUIRE(pairs[j].chosen == of[j]);
        REQUIRE(pairs[j].rejected == 2 + j);
        REQUIRE(pairs[j].weight == 1);
    }
    REQUIRE(allocations_of([&] { rlgaf::spin_pairs(2, {of}, pairs); }) == 0);
    rlgaf::spin_pairs(2, {}, pairs);
    REQUIRE(pairs.empty());
    REQUIRE(message_of<rlgaf::shape_error>([&] { rlgaf::spin_pairs(1, {of}, pairs); }) ==
            "rlgaf::spin_pairs: matching.real_of_fake[0]: expected below 1, got 1");
}

TEST_CASE("spin refuses options out of range by name") {
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(spin{.lambda = x}, "spin", "lambda"));
    REQUIRE(message_of<rlgaf::option_error>([] { run(spin{.lambda = 0}, pair_case{}); }) ==
            "rlgaf::spin: .lambda: expected finite and positive, got 0");
    STATIC_REQUIRE(!spin::row_separable);
}
