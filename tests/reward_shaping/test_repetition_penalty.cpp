#include "rlgaf/reward_shaping/repetition_penalty.hpp"
#include "support/ngram_checks.hpp"

using namespace rlgaf_test;
using rlgaf::repetition_penalty;

TEST_CASE("repetition_penalty is TRL's formula: the share of n-grams that are repeats") {
    // 1 2 1 2 1 2: 3-grams 121 212 121 212: half of them new
    REQUIRE(gap(token_outcome(repetition_penalty{}, {{1, 2, 1, 2, 1, 2}, {1, 2, 3, 4}, {1, 2}, {}, {7, 7, 7, 7, 7}}),
                {-0.5, 0, 0, 0, -2.0 / 3}) < 1e-15);
    REQUIRE(gap(token_outcome(repetition_penalty{.n = 1, .penalty = 2}, {{5, 5, -1, 5}}), {-1}) == 0);
}

TEST_CASE("repetition_penalty: n-grams are runs of unmasked tokens") {
    // bigrams of 1 2 x 1 2: 12 and 12, not 2x, x1
    REQUIRE(gap(token_outcome(repetition_penalty{.n = 2}, {{1, 2, 9, 1, 2}}, {{1, 1, 0, 1, 1}}), {-0.5}) == 0);
    REQUIRE(gap(token_outcome(repetition_penalty{.n = 2}, {{1, 1, 1}}, {{0, 0, 0}}), {0}) == 0);
}

TEST_CASE("repetition_penalty counts as a list of all n-grams does") {
    dice d(17);
    for (int i = 0; i < 500; ++i) {
        table rows = random_shape(d, 4, 30);
        const std::size_t n = 1 + d.below(4), vocabulary = 1 + d.below(4);
        for (auto& row : rows)
            for (double& v : row) v = static_cast<double>(d.below(vocabulary)) * 1e6 - 1e6;
        const table mask = random_mask(d, rows);
        std::vector<double> expected;
        for (std::size_t b = 0; b < rows.size(); ++b) {
            std::vector<std::vector<double>> seen;
            double all = 0, repeated = 0;
            for (const auto& gram : ngrams_of(rows, mask, b, n)) {
                bool known = false;
                for (const auto& s : seen) known = known || s == gram;
                all += 1, repeated += known;
                seen.push_back(gram);
            }
            expected.push_back(all > 0 ? -repeated / all : 0);
        }
        REQUIRE(gap(token_outcome(repetition_penalty{.n = n}, rows, mask), expected) < 1e-15);
    }
}

TEST_CASE("repetition_penalty refuses what does not fit, by name") {
    check_ngram_stage(repetition_penalty{}, "repetition_penalty");
    REQUIRE(refuses(repetition_penalty{.n = 0}, "repetition_penalty", "n"));
    for (const double x : {-1.0, not_a_number})
        REQUIRE(refuses(repetition_penalty{.penalty = x}, "repetition_penalty", "penalty"));
}
