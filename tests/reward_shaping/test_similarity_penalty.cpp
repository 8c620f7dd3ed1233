#include "rlgaf/reward_shaping/similarity_penalty.hpp"
#include "support/ngram_checks.hpp"

using namespace rlgaf_test;
using rlgaf::similarity_penalty;

TEST_CASE("similarity_penalty: the share of a row's n-grams that the group's other rows have") {
    const similarity_penalty stage{.n = 2, .weight = 1};
    // bigrams: 12 23 | 12 29 | 55 | none
    REQUIRE(gap(token_outcome(stage, {{1, 2, 3}, {1, 2, 9}, {5, 5}, {4}}), {-0.5 / 3, -0.5 / 3, 0, 0}) < 1e-15);
    REQUIRE(gap(token_outcome(stage, {{1, 2, 3}, {1, 2, 9}}, {}, {0, 1}), {0, 0}) == 0);  // alone in their groups
    REQUIRE(gap(token_outcome(stage, {{1, 2, 3}, {8, 8}, {1, 2, 3}}, {}, {2, 0, 2}), {-1, 0, -1}) == 0);
    REQUIRE(gap(token_outcome(stage, {{1, 2, 9}, {1, 2}}, {{1, 1, 0}, {1, 1}}), {-1, -1}) == 0);
    REQUIRE(token_outcome(stage, {}).empty());
}

TEST_CASE("similarity_penalty counts as a list of all n-grams does") {
    dice d(19);
    for (int i = 0; i < 300; ++i) {
        table rows = random_shape(d, 5, 12);
        const std::size_t n = 1 + d.below(3), vocabulary = 2 + d.below(4);
        std::vector<std::uint32_t> group;
        for (auto& row : rows) {
            group.push_back(static_cast<std::uint32_t>(d.below(2)));
            for (double& v : row) v = static_cast<double>(d.below(vocabulary));
        }
        const table mask = random_mask(d, rows);
        std::vector<double> expected(rows.size());
        for (std::size_t a = 0; a < rows.size(); ++a) {
            double others = 0, total = 0;
            for (std::size_t b = 0; b < rows.size(); ++b) {
                if (a == b || group[a] != group[b]) continue;
                others += 1;
                double all = 0, shared = 0;
                for (const auto& gram : ngrams_of(rows, mask, a, n)) {
                    bool known = false;
                    for (const auto& s : ngrams_of(rows, mask, b, n)) known = known || s == gram;
                    all += 1, shared += known;
                }
                total += all > 0 ? shared / all : 0;
            }
            expected[a] = others > 0 ? -0.3 * total / others : 0;
        }
        REQUIRE(gap(token_outcome(similarity_penalty{.n = n, .weight = 0.3}, rows, mask, group), expected) < 1e-14);
    }
}

TEST_CASE("similarity_penalty refuses what does not fit, by name") {
    check_ngram_stage(similarity_penalty{}, "similarity_penalty");
    REQUIRE(refuses(similarity_penalty{.n = 0}, "similarity_penalty", "n"));
    for (const double x : {-1.0, not_a_number})
        REQUIRE(refuses(similarity_penalty{.weight = x}, "similarity_penalty", "weight"));
}
