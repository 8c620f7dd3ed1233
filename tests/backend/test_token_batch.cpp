#include <cmath>
#include <vector>

#include "rlgaf/backend/token_batch.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"

using namespace rlgaf;
using rlgaf_test::message_of;

static_assert(cuts_prefixes<token_batch<float>> && cuts_prefixes<token_batch<double>>);
static_assert(replaces_tokens<token_batch<float>> && replaces_tokens<token_batch<double>>);

namespace {

using tokens_of_row = std::vector<std::int32_t>;

/// Rows 1 2 0 (terminated), none, 3 4 (truncated), 0 (terminated).
token_batch<float> example(bool extras) {
    token_batch<float> b;
    const std::vector<tokens_of_row> row = {{1, 2, 0}, {}, {3, 4}, {0}};
    for (std::size_t i = 0; i < row.size(); ++i) {
        std::vector<float> log_prob;
        std::vector<std::uint8_t> mask;
        for (std::size_t t = 0; extras && t < row[i].size(); ++t) {
            log_prob.push_back(-static_cast<float>(row[i][t]) - 0.5f);
            mask.push_back(row[i][t] % 2 == 0);
        }
        b.add(row[i], i == 0 || i == 3 ? row_end::terminated : row_end::truncated, log_prob, 1 + static_cast<double>(i),
              mask);
        if (extras) b.prompt.add(tokens_of_row(i, static_cast<std::int32_t>(7 + i)));
    }
    return b;
}
tokens_of_row row_of(const token_batch<float>& b, std::size_t i) { return {b.row(i).begin(), b.row(i).end()}; }

}  // namespace

TEST_CASE("token_batch: prefixes", "[backend]") {
    const auto b = example(true);
    const std::vector<prefix> cut = {{2, 1}, {0, 3}, {0, 2}, {0, 0}, {2, 2}, {1, 0}, {0, 2}};
    const auto p = prefixes(b, cut);
    REQUIRE(rows(p) == 7);
    CHECK(p.token == tokens_of_row{3, 1, 2, 0, 1, 2, 3, 4, 1, 2});
    CHECK(p.log_prob == std::vector<float>{-3.5f, -1.5f, -2.5f, -0.5f, -1.5f, -2.5f, -3.5f, -4.5f, -1.5f, -2.5f});
    CHECK(p.mask == std::vector<std::uint8_t>{0, 0, 1, 1, 0, 1, 0, 1, 0, 1});
    CHECK(p.length == std::vector<std::uint32_t>{1, 3, 2, 0, 2, 0, 2});
    CHECK(p.offset == std::vector<std::size_t>{0, 1, 4, 6, 6, 8, 8, 10});
    const auto t = row_end::truncated;  // a whole row ends as it did
    CHECK(p.end == std::vector<row_end>{t, row_end::terminated, t, t, t, t, t});
    CHECK(p.temperature == std::vector<double>{3, 1, 1, 1, 3, 2, 1});
    REQUIRE(rows(p.prompt) == 7);
    CHECK(p.prompt.row(0).size() == 2);
    CHECK(p.prompt.row(0)[1] == 9);
    CHECK(p.prompt.row(1).empty());
    CHECK(p.prompt.row(5).size() == 1);

    const auto bare = prefixes(example(false), cut);
    CHECK(bare.token == p.token);
    CHECK(bare.log_prob.empty());
    CHECK(bare.mask.empty());
    CHECK(rows(bare.prompt) == 0);
    CHECK(rows(prefixes(b, {})) == 0);

    // Whole rows are the batch.
    const auto all = prefixes(b, std::vector<prefix>{{0, 3}, {1, 0}, {2, 2}, {3, 1}});
    CHECK(all.token == b.token);
    CHECK(all.log_prob == b.log_prob);
    CHECK(all.end == b.end);
    CHECK(all.prompt.token == b.prompt.token);
}

TEST_CASE("token_batch: prefixes that are not there are refused", "[backend]") {
    const auto b = example(true);
    CHECK_THROWS_AS(prefixes(b, std::vector<prefix>{{0, 4}}), shape_error);
    CHECK_THROWS_AS(prefixes(b, std::vector<prefix>{{1, 1}}), shape_error);
    CHECK_THROWS_AS(prefixes(b, std::vector<prefix>{{4, 0}}), shape_error);
    const auto message = message_of<shape_error>([&] { (void)prefixes(b, std::vector<prefix>{{0, 1}, {2, 3}}); });
    CHECK(message.find("row 2, length 3") != std::string::npos);
}

TEST_CASE("token_batch: replaced tokens", "[backend]") {
    const auto b = example(true);
    const auto same = replace_tokens(b, 0, 9, {1, 2});
    CHECK(same.token == b.token);
    CHECK(same.log_prob.empty());
    CHECK(same.mask == b.mask);
    CHECK(same.end == b.end);
    CHECK(same.prompt.token == b.prompt.token);
    CHECK(b.log_prob.size() == b.token.size());

    // With one token to draw, everything becomes that token but what ends a terminated row.
    const auto c = replace_tokens(example(true), 1, 1, {1, 2});
    CHECK(row_of(c, 0) == tokens_of_row{0, 0, 0});
    CHECK(row_of(c, 2) == tokens_of_row{0, 0});
    token_batch<float> ends;
    ends.add(tokens_of_row{5, 5, 5}, row_end::terminated);
    ends.add(tokens_of_row{5, 5, 5}, row_end::truncated);
    ends.add(tokens_of_row{5}, row_end::terminated);
    ends.add(tokens_of_row{}, row_end::terminated);
    CHECK(replace_tokens(ends, 1, 1, {1, 2}).token == tokens_of_row{0, 0, 5, 0, 0, 0, 5});
    CHECK(rows(replace_tokens(token_batch<float>{}, 1, 5, {1, 2})) == 0);
}

TEST_CASE("token_batch: how often tokens are replaced, and by what", "[backend]") {
    constexpr std::size_t n = 400, length = 50, vocabulary = 6;
    token_batch<float> b;
    for (std::size_t i = 0; i < n; ++i) b.add(tokens_of_row(length, 9), row_end::truncated);
    const auto c = replace_tokens(b, 0.3, vocabulary, {7, 3});
    std::vector<double> count(10);
    for (const std::int32_t token : c.token) ++count[static_cast<std::size_t>(token)];
    const double total = n * length;
    CHECK(std::abs(count[9] / total - 0.7) < 4 * std::sqrt(0.21 / total));
    for (std::size_t v = 0; v < vocabulary; ++v)
        CHECK(std::abs(count[v] / total - 0.05) < 4 * std::sqrt(0.05 * 0.95 / total));
    CHECK(count[6] + count[7] + count[8] == 0);

    CHECK(replace_tokens(b, 0.3, vocabulary, {7, 3}).token == c.token);
    CHECK(replace_tokens(b, 0.3, vocabulary, {7, 4}).token != c.token);
    CHECK(replace_tokens(b, 0.3, vocabulary, {8, 3}).token != c.token);
    const std::vector<std::size_t> few = {0, 1};  // a row does not depend on the rows after it
    CHECK(row_of(replace_tokens(select(b, few), 0.3, vocabulary, {7, 3}), 1) == row_of(c, 1));
    CHECK(row_of(c, 0) != row_of(c, 1));
}

TEST_CASE("token_batch: replacing refuses what it cannot do", "[backend]") {
    const auto b = example(false);
    CHECK_THROWS_AS(replace_tokens(b, -0.1, 5, {}), option_error);
    CHECK_THROWS_AS(replace_tokens(b, 1.1, 5, {}), option_error);
    CHECK_THROWS_AS(replace_tokens(b, std::nan(""), 5, {}), option_error);
    CHECK_THROWS_AS(replace_tokens(b, 0.5, 0, {}), option_error);
}
