#include "rlgaf/reward_shaping/score_difference.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::score_difference;

TEST_CASE("score_difference pays each token for what it changed") {
    REQUIRE(gap(token_reward(score_difference{}, {{1, 4, 2}, {}, {-3}}), {{1, 3, -2}, {}, {-3}}) == 0);
    REQUIRE(gap(token_reward(score_difference{.scale = 0.5, .initial = 2}, {{1, 4, 2}}), {{-0.5, 1.5, -1}}) == 0);
    REQUIRE(gap(token_reward(score_difference{}, {{1, 9, 2, 9}}, {{1, 0, 1, 0}}), {{1, 0, 1, 0}}) == 0);
    REQUIRE(gap(token_reward(score_difference{}, {{1e4, -1e4}}), {{1e4, -2e4}}) == 0);
}

TEST_CASE("score_difference: a row's sum is its last score less the initial one") {
    dice d(4);
    for (int i = 0; i < 2000; ++i) {
        table s = random_shape(d, 4, 8);
        const bool exact = d.chance(0.5);  // numbers of few bits: then the sum is exact
        for (auto& row : s)
            for (double& v : row) v = exact ? std::round(8 * d.normal()) / 8 : 5 * d.normal();
        const table mask = random_mask(d, s);
        const double initial = exact ? 0.25 : d.normal();
        const table r = token_reward(score_difference{.initial = initial}, s, mask);
        for (std::size_t b = 0; b < s.size(); ++b) {
            double last = initial;
            for (std::size_t t = 0; t < s[b].size(); ++t)
                if (included(mask, b, t)) last = s[b][t];
            REQUIRE(gap(row_sum(r, mask, b), last - initial) <= (exact ? 0 : 1e-12));
        }
    }
}

TEST_CASE("score_difference in both layouts and in float, and what it refuses") {
    check_token_stage(score_difference{.initial = 0.5}, "score_difference", "terms.token_score");
    for (const double x : {infinity, -infinity, not_a_number}) {
        REQUIRE(refuses(score_difference{.scale = x}, "score_difference", "scale"));
        REQUIRE(refuses(score_difference{.initial = x}, "score_difference", "initial"));
    }
}
