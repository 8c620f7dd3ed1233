#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/loss/bradley_terry_all_pairs.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::bradley_terry_all_pairs;

TEST_CASE("bradley_terry_all_pairs keeps the promises of a discriminator loss") {
    check_discriminator_loss("bradley_terry_all_pairs",
                             [](dice& d) { return bradley_terry_all_pairs{.margin = d.chance(0.5) ? 0 : d.normal()}; });
}

TEST_CASE("bradley_terry_all_pairs on three scores a side: the sheet's golden vector") {
    check_scores(bradley_terry_all_pairs{}, 0.572888, {-0.043522, -0.199080, -0.140335},
                 {0.071015, 0.175709, 0.136215});
}

TEST_CASE("bradley_terry_all_pairs is bradley_terry with every sample written once a demonstration") {
    dice d(7);
    for (int i = 0; i < 20; ++i) {
        score_case c, every;
        c.real.resize(1 + d.below(200)), c.fake.resize(1 + d.below(200));
        for (double& s : c.real) s = 3 * d.normal();
        for (double& s : c.fake) s = 3 * d.normal();
        every.real = c.real;
        for (const double f : c.fake)
            for (std::uint32_t k = 0; k < c.real.size(); ++k) every.fake.push_back(f), every.pairs.push_back(k);
        const double margin = d.normal();
        const score_result all = run(bradley_terry_all_pairs{.margin = margin}, c);
        const score_result one = run(rlgaf::bradley_terry{.margin = margin, .score_penalty = 0}, every);
        REQUIRE(gap(all.stats.loss, one.stats.loss) < 1e-12);
        REQUIRE(gap(all.d_real, one.d_real) < 1e-12);
        for (std::size_t j = 0; j < c.fake.size(); ++j) {
            double sum = 0;
            for (std::size_t k = 0; k < c.real.size(); ++k) sum += one.d_fake[j * c.real.size() + k];
            REQUIRE(gap(all.d_fake[j], sum) < 1e-12);
        }
        REQUIRE(all.stats.accuracy == 0.5);  // no pairs were given
    }
}

TEST_CASE("bradley_terry_all_pairs: saturated scores, and a side without rows") {
    const score_result right = run(bradley_terry_all_pairs{}, {{1e4}, {-1e4}, {}});
    REQUIRE(right.stats.loss == 0);
    REQUIRE(right.d_real[0] == 0);
    const score_result wrong = run(bradley_terry_all_pairs{}, {{-1e4}, {1e4, 1e4}, {}});
    REQUIRE(wrong.stats.loss == 2e4);
    REQUIRE(wrong.d_real[0] == -1);
    REQUIRE(gap(wrong.d_fake, {0.5, 0.5}) == 0);
    for (const score_case& c : {score_case{{1, 2}, {}, {}}, score_case{{}, {1, 2}, {}}, score_case{}}) {
        const score_result none = run(bradley_terry_all_pairs{}, c);
        REQUIRE(none.stats.loss == 0);
        REQUIRE(gap(none.d_real, std::vector<double>(c.real.size())) == 0);
        REQUIRE(gap(none.d_fake, std::vector<double>(c.fake.size())) == 0);
    }
}

TEST_CASE("bradley_terry_all_pairs refuses a margin that is no number") {
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(bradley_terry_all_pairs{.margin = x}, "bradley_terry_all_pairs", "margin"));
    REQUIRE_THROWS_AS(run(bradley_terry_all_pairs{.margin = infinity}, sheet_scores()), rlgaf::option_error);
}
