#include <vector>

#include "rlgaf/models/ngram.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::dice;
using rlgaf_test::gap;

static_assert(scores_tokens<ngram_scorer<float>, token_batch<float>>);
static_assert(scores_tokens<ngram_scorer<double>, token_batch<double>>);
static_assert(!perturbs_inputs<ngram_scorer<double>, token_batch<double>>);  // a table has no inputs to move

namespace {

token_batch<double> random_batch(dice& d, bool prompts, bool masks) {
    token_batch<double> b;
    for (std::size_t i = 0; i < 15; ++i) {
        std::vector<std::int32_t> row(d.below(7)), prompt(d.below(3));
        std::vector<std::uint8_t> mask(masks ? row.size() : 0);
        for (auto& x : row) x = static_cast<std::int32_t>(d.below(4));
        for (auto& x : prompt) x = static_cast<std::int32_t>(d.below(4));
        for (auto& x : mask) x = static_cast<std::uint8_t>(d.below(2));
        b.add(row, row_end::truncated, {}, 1, mask);
        if (prompts) b.prompt.add(prompt);
    }
    return b;
}
std::vector<double> token_scores(ngram_scorer<double>& scorer, const token_batch<double>& b) {
    std::vector<double> score(b.token.size(), 9.0);
    scorer.evaluate_tokens(b, ragged_view<double>::packed(score.data(), b.offset));
    return score;
}
ngram_scorer<double> scorer_of(bool mean) {
    return ngram_scorer<double>({.shape = {.vocabulary = 4, .order = 2}, .mean = mean, .initial_spread = 1});
}

}  // namespace

TEST_CASE("ngram_scorer: a token's score is that of the row up to it", "[ngram]") {
    for (const bool mean : {false, true})
        for (const bool prompts : {false, true})
            for (const bool masks : {false, true}) {
                CAPTURE(mean, prompts, masks);
                dice d(3);
                auto scorer = scorer_of(mean);
                const auto b = random_batch(d, prompts, masks);
                std::vector<prefix> cut;
                for (std::size_t i = 0; i < rows(b); ++i)
                    for (std::uint32_t t = 1; t <= b.length[i]; ++t) cut.push_back({i, t});
                std::vector<double> expected(cut.size());
                scorer.evaluate(prefixes(b, cut), expected);
                const auto score = token_scores(scorer, b);
                CHECK(gap(score, expected) <= 1e-14);
                CHECK(token_scores(scorer, b) == score);
            }
}

TEST_CASE("ngram_scorer: gradients of token scores are those of the prefixes' scores", "[ngram]") {
    for (const bool mean : {false, true})
        for (const bool masks : {false, true}) {
            CAPTURE(mean, masks);
            dice d(4);
            auto scorer = scorer_of(mean), twin = scorer_of(mean);
            const auto b = random_batch(d, true, masks);
            std::vector<prefix> cut;
            for (std::size_t i = 0; i < rows(b); ++i)
                for (std::uint32_t t = 1; t <= b.length[i]; ++t) cut.push_back({i, t});
            std::vector<double> c(cut.size()), score(cut.size());
            for (double& x : c) x = d.uniform(-1, 1);
            twin.backward(twin.forward(prefixes(b, cut), score), c);
            const auto view = ragged_view<double>::packed(score.data(), b.offset);
            const auto d_score = ragged_view<const double>::packed(c.data(), b.offset);
            const auto all = [](auto& s) {
                const auto g = s.parameters()[0].gradients;
                return std::vector<double>(g.begin(), g.end());
            };
            scorer.backward_tokens(scorer.forward_tokens(b, view), d_score);
            const auto once = all(scorer);
            CHECK(gap(once, all(twin)) <= 1e-13);
            scorer.backward_tokens(scorer.forward_tokens(b, view), d_score);  // they accumulate
            for (std::size_t i = 0; i < once.size(); ++i) CHECK(all(scorer)[i] == Approx(2 * once[i]).margin(1e-13));
            // A score is linear in the table.
            double along = 0, total = 0;
            const auto values = scorer.parameters()[0].values;
            for (std::size_t i = 0; i < once.size(); ++i) along += once[i] * values[i];
            for (std::size_t i = 0; i < c.size(); ++i) total += c[i] * token_scores(scorer, b)[i];
            CHECK(along == Approx(total).epsilon(1e-12));
        }
}

TEST_CASE("ngram_scorer: token scores of nothing, and of other shapes", "[ngram]") {
    auto scorer = scorer_of(true);
    scorer.evaluate_tokens({}, {});
    scorer.backward_tokens(scorer.forward_tokens({}, {}), {});
    token_batch<double> b;
    const std::vector<std::uint8_t> masked = {0, 0};
    b.add(std::vector<std::int32_t>{1, 2}, row_end::terminated, {}, 1, masked);
    CHECK(token_scores(scorer, b) == std::vector<double>{0, 0});
    std::vector<double> score(2);
    const auto view = ragged_view<double>::packed(score.data(), b.offset);
    const std::vector<std::size_t> short_row = {0, 1};
    CHECK_THROWS_AS(scorer.evaluate_tokens(b, {}), shape_error);
    CHECK_THROWS_AS(scorer.evaluate_tokens(b, ragged_view<double>::packed(score.data(), short_row)), shape_error);
    CHECK_THROWS_AS(scorer.backward_tokens(scorer.forward_tokens(b, view),
                                           ragged_view<const double>::packed(score.data(), short_row)),
                    shape_error);
    b.token[1] = 4;
    CHECK_THROWS_AS(scorer.evaluate_tokens(b, view), numeric_error);
}
