#include "rlgaf/discriminator/pointwise.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::detail::score_term;

namespace {
/// Two formulas that cannot be confused: s^2 for demonstrations, 3 s for samples.
struct squares_and_lines {
    template <class T>
    rlgaf::discriminator_loss_stats operator()(const rlgaf::discriminator_terms<T>& terms, std::span<T> d_real,
                                               std::span<T> d_fake) const {
        return rlgaf::detail::pointwise_loss(
            terms, d_real, d_fake, "squares_and_lines",
            [](T s) {
                return score_term<T>{s * s, 2 * s};
            },
            [](T s) {
                return score_term<T>{3 * s, 3};
            });
    }
};
}  // namespace

TEST_CASE("Pointwise losses are means of a formula a side") {
    check_pointwise_loss("squares_and_lines", [](dice&) { return squares_and_lines{}; });
    const score_result r = run(squares_and_lines{}, {{1, 2}, {5}, {}});
    REQUIRE(r.stats.loss == 2.5 + 15);
    REQUIRE(r.d_real == std::vector<double>{1, 2});
    REQUIRE(r.d_fake == std::vector<double>{3});
}

TEST_CASE("Weights take the place of the means, one side at a time, whatever their sign and sum") {
    const score_case scores{{1, 2}, {5, 1}, {}};
    const score_result real = run_weighted(squares_and_lines{}, {scores, {0, -1}, {}});
    REQUIRE(real.stats.loss == -4 + 9);
    REQUIRE(real.d_real == std::vector<double>{0, -4});
    REQUIRE(real.d_fake == std::vector<double>{1.5, 1.5});
    const score_result fake = run_weighted(squares_and_lines{}, {scores, {}, {2, 3}});
    REQUIRE(fake.stats.loss == 2.5 + 30 + 9);
    REQUIRE(fake.d_fake == std::vector<double>{6, 9});
    REQUIRE(std::isnan(run_weighted(squares_and_lines{}, {scores, {}, {2, not_a_number}}).stats.loss));
}

TEST_CASE("Weights of 1 / n change nothing") {
    dice d(7);
    for (int i = 0; i < 200; ++i) {
        weighted_scores c = random_weighted_scores(d, 3);
        c.real_weight.assign(c.scores.real.size(), 1 / static_cast<double>(c.scores.real.size()));
        c.fake_weight.assign(c.scores.fake.size(), 1 / static_cast<double>(c.scores.fake.size()));
        const score_result weighted = run_weighted(squares_and_lines{}, c), plain = run(squares_and_lines{}, c.scores);
        REQUIRE(weighted.stats.loss == plain.stats.loss);
        REQUIRE(weighted.d_real == plain.d_real);
        REQUIRE(weighted.d_fake == plain.d_fake);
    }
}
