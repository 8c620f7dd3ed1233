#include "rlgaf/preference/dpo.hpp"
#include "rlgaf/preference/online_dpo.hpp"
#include "support/pair_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::online_dpo;

namespace {
pair_list pairs_of(const online_dpo& choose, const std::vector<double>& score,
                   const std::vector<std::uint32_t>& group) {
    pair_list pairs = {{9, 9, 9}};
    rlgaf::workspace work;
    work.index = {7};
    std::size_t count = 0;
    for (const std::uint32_t g : group) count = g + 1 > count ? g + 1 : count;
    choose(std::span<const double>(score), {group, count}, work, pairs);
    return pairs;
}
bool same(const pair_list& a, const pair_list& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i].chosen != b[i].chosen || a[i].rejected != b[i].rejected || a[i].weight != b[i].weight) return false;
    return true;
}
constexpr online_dpo with_ties{.tolerance = -1};
}  // namespace

TEST_CASE("online_dpo with two samples a prompt: the higher score is chosen, rows need not be neighbours") {
    REQUIRE(same(pairs_of({}, {0.2, 1, 0.7, -3}, {0, 1, 0, 1}), {{2, 0}, {1, 3}}));
    REQUIRE(same(pairs_of(with_ties, {0.2, 1, 0.7, -3}, {0, 1, 0, 1}), {{2, 0}, {1, 3}}));
}

TEST_CASE("online_dpo: a tie teaches nothing; with a negative tolerance the first sample is chosen, as in TRL") {
    REQUIRE(pairs_of({}, {0.5, 0.5}, {0, 0}).empty());
    REQUIRE(same(pairs_of(with_ties, {0.5, 0.5}, {0, 0}), {{0, 1}}));
    REQUIRE(same(pairs_of(with_ties, {0.5, 0.5, 0.5}, {0, 0, 0}), {{0, 2}}));
    REQUIRE(same(pairs_of(with_ties, {infinity, infinity}, {0, 0}), {{0, 1}}));
}

TEST_CASE("online_dpo with more samples a prompt: best against worst, skipped where the gap is within the tolerance") {
    REQUIRE(same(pairs_of({}, {1, 3, -2, 0}, {0, 0, 0, 0}), {{1, 2}}));
    REQUIRE(same(pairs_of({}, {3, 1, 3, 1}, {0, 0, 0, 0}), {{0, 3}}));  // first of the best, last of the worst
    REQUIRE(pairs_of({.tolerance = 0.5}, {1, 1.5, 1.25}, {0, 0, 0}).empty());
    REQUIRE(pairs_of({.tolerance = 0.5}, {1, 1.75, 1.25}, {0, 0, 0}).size() == 1);
}

TEST_CASE("online_dpo: rows without a score take no part, and one row or none gives no pair") {
    for (const online_dpo& choose : {online_dpo{}, with_ties}) {
        REQUIRE(pairs_of(choose, {}, {}).empty());
        REQUIRE(pairs_of(choose, {1, 2}, {0, 1}).empty());
        REQUIRE(pairs_of(choose, {1, not_a_number}, {0, 0}).empty());
        REQUIRE(pairs_of(choose, {not_a_number, not_a_number}, {0, 0}).empty());
        REQUIRE(same(pairs_of(choose, {not_a_number, 1, 2, 5}, {2, 2, 2, 0}), {{2, 1}}));
    }
}

TEST_CASE("online_dpo agrees with a search over all rows, in float too, without allocating twice") {
    dice d(2402);
    rlgaf::workspace work;
    pair_list pairs;
    for (int i = 0; i < 2000; ++i) {
        const std::size_t rows = d.below(14), count = 1 + d.below(5);
        std::vector<float> score(rows);
        std::vector<std::uint32_t> group(rows);
        for (float& s : score) s = static_cast<float>(d.chance(0.1) ? not_a_number : std::round(3 * d.uniform()));
        for (auto& g : group) g = static_cast<std::uint32_t>(d.below(count));
        const double tolerance = d.chance(0.3) ? -1 : d.chance(0.5) ? 0 : 1;
        const std::span<const float> view = score;
        const auto call = [&] { online_dpo{.tolerance = tolerance}(view, {group, count}, work, pairs); };
        call();
        REQUIRE(allocations_of(call) == 0);
        std::vector<bool> found(count);
        for (const auto& pair : pairs) {
            REQUIRE(pair.chosen != pair.rejected);
            REQUIRE(group[pair.chosen] == group[pair.rejected]);
            REQUIRE(!found[group[pair.chosen]]);
            found[group[pair.chosen]] = true;
            for (std::size_t r = 0; r < rows; ++r) {
                if (group[r] != group[pair.chosen] || std::isnan(score[r])) continue;
                REQUIRE(score[r] <= score[pair.chosen]);
                REQUIRE(score[r] >= score[pair.rejected]);
                if (r < pair.chosen) REQUIRE(score[r] < score[pair.chosen]);
                if (r > pair.rejected) REQUIRE(score[r] > score[pair.rejected]);
            }
        }
        for (std::size_t g = 0; g < count; ++g) {
            double largest = -infinity, smallest = infinity, n = 0;
            for (std::size_t r = 0; r < rows; ++r)
                if (group[r] == g && !std::isnan(score[r])) {
                    largest = std::fmax(largest, static_cast<double>(score[r]));
                    smallest = std::fmin(smallest, static_cast<double>(score[r]));
                    n += 1;
                }
            REQUIRE(found[g] == (n > 1 && largest - smallest > tolerance));
        }
    }
}

TEST_CASE("online_dpo gives dpo what it trains on") {
    // Scores prefer row 2 of prompt 0 and row 1 of prompt 1; the policy equals its reference.
    const table log_prob = {{-1}, {-2}, {-3, -1}, {-1}};
    const pair_case c{log_prob, log_prob, {}, pairs_of({}, {0.2, 1, 0.7, -3}, {0, 1, 0, 1})};
    const pair_result r = run(rlgaf::dpo{.beta = 1}, c);
    REQUIRE(gap(r.gradient, table{{0.25}, {-0.25}, {-0.25, -0.25}, {0.25}}) < 1e-15);
}

TEST_CASE("online_dpo refuses shapes and options by name") {
    REQUIRE(message_of<rlgaf::shape_error>([] {
                pairs_of({}, {1, 2}, {0});
            }) == "rlgaf::online_dpo: groups.id: expected 2 elements, got 1");
    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(online_dpo{.tolerance = x}, "online_dpo", "tolerance"));
}
