#include "rlgaf/preference/all_pairs.hpp"
#include "rlgaf/preference/reward_model.hpp"
#include "support/pair_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::all_pairs;
using rlgaf::reward_model;

namespace {
struct scored_pairs {
    std::vector<double> score;
    pair_list pairs;
    std::vector<double> margin{};  ///< empty: not given
};

template <class T = double>
pair_values evaluate(const reward_model& loss, const scored_pairs& c, double start = 0) {
    const std::vector<T> score(c.score.begin(), c.score.end());
    std::vector<T> gradient(score.size(), static_cast<T>(start));
    const auto stats = loss(rlgaf::reward_model_terms<T>{score, c.pairs, c.margin}, std::span<T>(gradient));
    return {stats, {gradient.begin(), gradient.end()}};
}

reward_model random_options(dice& d) {
    return {.margin = d.chance(0.5) ? 0 : d.normal(),
            .centering = d.chance(0.5) ? 0 : d.uniform(0, 0.1),
            .label_smoothing = d.chance(0.5) ? 0 : d.uniform(0, 0.49)};
}
scored_pairs random_scores_and_pairs(dice& d) {
    scored_pairs c;
    c.score.resize(d.below(7));
    const double scale = d.chance(0.2) ? 15 : 2;
    for (double& s : c.score) s = scale * d.normal();
    c.pairs = random_pairs(d, c.score.size());
    if (d.chance(0.3))
        for (std::size_t p = 0; p < c.pairs.size(); ++p) c.margin.push_back(d.normal());
    return c;
}

/// The definition with plain logarithms of plain sigmoids.
rlgaf::preference_stats by_definition(const reward_model& o, const scored_pairs& c) {
    if (weight_of(c.pairs) == 0) return {};
    rlgaf::preference_stats s{.accuracy = 0};
    for (std::size_t p = 0; p < c.pairs.size(); ++p) {
        const double share = c.pairs[p].weight / weight_of(c.pairs);
        const double a = c.score[c.pairs[p].chosen], b = c.score[c.pairs[p].rejected];
        const double x = a - b - o.margin - (c.margin.empty() ? 0 : c.margin[p]);
        s.loss += share * ((1 - o.label_smoothing) * std::log(1 + std::exp(-x)) +
                           o.label_smoothing * std::log(1 + std::exp(x)) + o.centering * std::pow(a + b, 2));
        s.chosen += share * a;
        s.rejected += share * b;
        s.margin += share * (a - b);
        s.accuracy += share * (a > b ? 1 : a < b ? 0 : 0.5);
    }
    return s;
}

pair_list pairs_of(const std::vector<double>& score, const std::vector<std::uint32_t>& group, double tolerance = 0) {
    pair_list pairs = {{9, 9, 9}};
    rlgaf::workspace work;
    work.a = {7};
    work.index = {7};
    std::size_t count = 0;
    for (const std::uint32_t g : group) count = g + 1 > count ? g + 1 : count;
    all_pairs{.tolerance = tolerance}(std::span<const double>(score), {group, count}, work, pairs);
    return pairs;
}
}  // namespace

TEST_CASE("reward_model agrees with its definition and its gradient with the slope, in any order and storage") {
    dice d(2203);
    for (int i = 0; i < 4000; ++i) {
        CAPTURE(i);
        const reward_model loss = random_options(d);
        scored_pairs c = random_scores_and_pairs(d);
        const pair_values r = evaluate(loss, c);
        require_close(r.stats, by_definition(loss, c), 1e-12);
        for (std::size_t j = 0; j < c.score.size(); ++j)
            REQUIRE(gap(slope([&] { return evaluate(loss, c).stats.loss; }, c.score[j]), r.gradient[j]) < 1e-6);

        const pair_values added = evaluate(loss, c, 5);
        for (std::size_t j = 0; j < c.score.size(); ++j) REQUIRE(gap(added.gradient[j] - 5, r.gradient[j]) < 1e-14);

        scored_pairs rounded = c;
        for (double& s : rounded.score) s = static_cast<double>(static_cast<float>(s));
        const pair_values wide = evaluate(loss, rounded), narrow = evaluate<float>(loss, rounded);
        REQUIRE(gap(narrow.stats.loss, wide.stats.loss) < 4e-6 * (1 + std::abs(wide.stats.loss)));
        REQUIRE(gap(narrow.gradient, wide.gradient) < 4e-6);

        const std::vector<std::size_t> order = d.permutation(c.score.size());
        const pair_values other =
            evaluate(loss, scored_pairs{permuted(c.score, order), renumbered(c.pairs, order), c.margin});
        REQUIRE(same_bits(other.stats.loss, r.stats.loss));
        REQUIRE(same_bits(other.gradient, permuted(r.gradient, order)));

        c.margin.clear();
        check_pair_list(c.pairs, d, [&](const pair_list& pairs) {
            return evaluate(loss, scored_pairs{c.score, pairs});
        });
    }
}

TEST_CASE("reward_model on the formula sheet's golden vector: rc = 1, rj = 0.4, margin 0.3") {
    const pair_values r = evaluate(reward_model{.margin = 0.3}, {{1, 0.4}, {{0, 1}}});
    REQUIRE(gap(r.stats.loss, 0.554355) < 1e-6);
    REQUIRE(gap(r.gradient, {-0.425557, 0.425557}) < 1e-6);
    REQUIRE(gap(r.stats.margin, 0.6) < 1e-15);
    REQUIRE(r.stats.accuracy == 1);
    // The margin of the pair adds to that of the option.
    const pair_values own = evaluate(reward_model{.margin = 0.1}, {{1, 0.4}, {{0, 1}}, {0.2}});
    REQUIRE(gap(own.stats.loss, r.stats.loss) < 1e-15);
    // cc (rc + rj)^2 and its slope 2 cc (rc + rj).
    const pair_values centred = evaluate(reward_model{.margin = 0.3, .centering = 0.01}, {{1, 0.4}, {{0, 1}}});
    REQUIRE(gap(centred.stats.loss - r.stats.loss, 0.01 * 1.96) < 1e-12);
    REQUIRE(gap(centred.gradient, {r.gradient[0] + 0.028, r.gradient[1] + 0.028}) < 1e-12);
    // Label smoothing: the slope loses e.
    const pair_values smooth = evaluate(reward_model{.margin = 0.3, .label_smoothing = 0.1}, {{1, 0.4}, {{0, 1}}});
    REQUIRE(gap(smooth.gradient, {-0.325557, 0.325557}) < 1e-6);
    REQUIRE(gap(smooth.stats.loss, 0.554355 + 0.1 * 0.3) < 1e-6);
}

TEST_CASE("Trap 24: score gaps of 200 and 10000 neither overflow nor lose the gradient, in float too") {
    for (const double half : {100.0, 5000.0}) {
        const pair_values right = evaluate<float>(reward_model{}, {{half, -half}, {{0, 1}}});
        REQUIRE(right.stats.loss < 1e-80);
        REQUIRE(right.stats.accuracy == 1);
        const pair_values wrong = evaluate<float>(reward_model{}, {{-half, half}, {{0, 1}}});
        REQUIRE(wrong.stats.loss == 2 * half);
        REQUIRE(gap(wrong.gradient, {-1, 1}) == 0);
        REQUIRE(wrong.stats.accuracy == 0);
        const pair_values noisy = evaluate(reward_model{.label_smoothing = 0.25}, {{half, -half}, {{0, 1}}});
        REQUIRE(gap(noisy.stats.loss, 0.5 * half) < 1e-12 * half);
        REQUIRE(gap(noisy.gradient, {0.25, -0.25}) < 1e-15);
    }
}

TEST_CASE("Trap 25: the slope of a won pair is sigmoid(-gap), not 1 - sigmoid(gap)") {
    const pair_values r = evaluate(reward_model{}, {{40, 0}, {{0, 1}}});
    REQUIRE(gap(r.gradient[0] / -std::exp(-40.0), 1) < 1e-12);
}

TEST_CASE("reward_model: ties, no pairs, scores that are in no pair, no allocation") {
    const pair_values tie = evaluate(reward_model{}, {{1, 1}, {{0, 1}}});
    REQUIRE(gap(tie.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(tie.stats.accuracy == 0.5);
    REQUIRE(gap(tie.gradient, {-0.5, 0.5}) < 1e-15);
    check_no_pairs([](const pair_list& pairs) { return evaluate(reward_model{}, {{1, 2, 3}, pairs}); });
    REQUIRE(evaluate(reward_model{}, {{}, {}}).stats.loss == 0);
    const pair_values part = evaluate(reward_model{}, {{1, 1, not_a_number}, {{0, 1}, {2, 1, 0}}});
    REQUIRE(gap(part.stats.loss, std::log(2)) < 1e-15);
    REQUIRE(part.gradient[2] == 0);

    const std::vector<float> score = {1, 2, 3};
    const pair_list pairs = {{0, 1}, {2, 1}};
    std::vector<float> gradient(3);
    const auto call = [&] {
        reward_model{}(rlgaf::reward_model_terms<float>{score, pairs}, std::span<float>(gradient));
    };
    REQUIRE(allocations_of(call) == 0);
}

TEST_CASE("reward_model refuses shapes, pairs and options by name") {
    std::vector<double> score = {1, 2, 3}, gradient(3), two(2);
    const pair_list pairs = {{0, 1}, {2, 1}};
    const auto message = [&](const std::vector<double>& margin, std::vector<double>& d_score) {
        return message_of<rlgaf::shape_error>([&] {
            reward_model{}(rlgaf::reward_model_terms<double>{score, pairs, margin}, std::span<double>(d_score));
        });
    };
    REQUIRE(message({0, 0}, gradient) == "nothing thrown");
    REQUIRE(message({}, two) == "rlgaf::reward_model: d_score: expected 3 elements, got 2");
    REQUIRE(message({0, 0, 0}, gradient) == "rlgaf::reward_model: terms.margin: expected 2 elements, got 3");
    check_pair_errors("reward_model", [](const pair_list& bad) { evaluate(reward_model{}, {{1, 2, 3}, bad}); });

    for (const double x : {infinity, -infinity, not_a_number})
        REQUIRE(refuses(reward_model{.margin = x}, "reward_model", "margin"));
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(reward_model{.centering = x}, "reward_model", "centering"));
    for (const double x : {-0.1, 0.5, not_a_number})
        REQUIRE(refuses(reward_model{.label_smoothing = x}, "reward_model", "label_smoothing"));
    REQUIRE_THROWS_AS(evaluate(reward_model{.centering = -1}, {{1, 2}, {{0, 1}}}), rlgaf::option_error);
}

TEST_CASE("all_pairs: every pair of a prompt, the better one chosen, every prompt with the same weight") {
    // Prompt 0 has rows 0, 2, 4 (three pairs), prompt 1 rows 1, 3 (one).
    const pair_list pairs = pairs_of({0.5, -1, 2, 4, 1}, {0, 1, 0, 1, 0});
    REQUIRE(pairs.size() == 4);
    double weight[2] = {};
    for (const auto& pair : pairs) weight[pair.chosen % 2] += pair.weight;
    REQUIRE(gap(weight[0], 1) < 1e-15);
    REQUIRE(gap(weight[1], 1) < 1e-15);
    const auto has = [&](std::uint32_t chosen, std::uint32_t rejected, double share) {
        for (const auto& pair : pairs)
            if (pair.chosen == chosen && pair.rejected == rejected) return gap(pair.weight, share) < 1e-15;
        return false;
    };
    REQUIRE(has(2, 0, 1.0 / 3));
    REQUIRE(has(2, 4, 1.0 / 3));
    REQUIRE(has(4, 0, 1.0 / 3));
    REQUIRE(has(3, 1, 1));
}

TEST_CASE("all_pairs and reward_model: the mean over prompts of InstructGPT's 1 / C(K, 2) sums") {
    const std::vector<double> score = {0.3, -0.2, 1.1, 0.4, 2, -1}, rank = {2, 1, 3, 2, 1, 4};
    const std::vector<std::uint32_t> group = {0, 0, 0, 1, 1, 1};
    std::vector<double> taste;
    for (const double r : rank) taste.push_back(-r);
    const auto softplus_of = [&](std::size_t c, std::size_t r) { return std::log1p(std::exp(score[r] - score[c])); };
    const double first = (softplus_of(1, 0) + softplus_of(1, 2) + softplus_of(0, 2)) / 3;
    const double second = (softplus_of(4, 3) + softplus_of(4, 5) + softplus_of(3, 5)) / 3;
    const pair_values r = evaluate(reward_model{}, {score, pairs_of(taste, group)});
    REQUIRE(gap(r.stats.loss, (first + second) / 2) < 1e-15);
}

TEST_CASE("all_pairs: ties, NaN, groups of one and no rows make no pair and take no weight") {
    REQUIRE(pairs_of({}, {}).empty());
    REQUIRE(pairs_of({1, 2}, {0, 1}).empty());
    REQUIRE(pairs_of({1, 1}, {0, 0}).empty());
    REQUIRE(pairs_of({1, 1.5}, {0, 0}, 0.5).empty());
    REQUIRE(pairs_of({1, 1.75}, {0, 0}, 0.5).size() == 1);
    REQUIRE(pairs_of({infinity, infinity}, {0, 0}).empty());
    REQUIRE(pairs_of({1, not_a_number}, {0, 0}).empty());
    const pair_list some = pairs_of({1, not_a_number, 3, 1}, {0, 0, 0, 0});
    REQUIRE(some.size() == 2);  // 2 above 0 and 3; 0 ties with 3
    for (const auto& pair : some) {
        REQUIRE(pair.chosen == 2);
        REQUIRE(pair.weight == 0.5);
    }
}

TEST_CASE("all_pairs agrees with two nested loops on random groups, without allocating twice") {
    dice d(22);
    rlgaf::workspace work;
    pair_list pairs;
    for (int i = 0; i < 2000; ++i) {
        const std::size_t rows = d.below(12), count = 1 + d.below(5);
        std::vector<double> score(rows);
        std::vector<std::uint32_t> group(rows);
        for (double& s : score) s = d.chance(0.1) ? not_a_number : std::round(4 * d.uniform());
        for (auto& g : group) g = static_cast<std::uint32_t>(d.below(count));
        const double tolerance = d.chance(0.5) ? 0 : 1;
        const std::span<const double> view = score;
        const auto call = [&] { all_pairs{.tolerance = tolerance}(view, {group, count}, work, pairs); };
        call();
        REQUIRE(allocations_of(call) == 0);
        std::size_t expected = 0;
        for (std::size_t a = 0; a < rows; ++a)
            for (std::size_t b = 0; b < rows; ++b) {
                if (group[a] != group[b] || !(score[a] - score[b] > tolerance)) continue;
                double of_group = 0, found = 0;
                for (const auto& pair : pairs) {
                    of_group += group[pair.chosen] == group[a];
                    if (pair.chosen == a && pair.rejected == b) found = pair.weight;
                }
                REQUIRE(gap(found, 1 / of_group) < 1e-15);
                ++expected;
            }
        REQUIRE(pairs.size() == expected);
    }
}

TEST_CASE("all_pairs refuses shapes and options by name") {
    REQUIRE(message_of<rlgaf::shape_error>([] {
                pairs_of({1, 2}, {0});
            }) == "rlgaf::all_pairs: groups.id: expected 2 elements, got 1");
    for (const double x : {-0.1, not_a_number}) REQUIRE(refuses(all_pairs{.tolerance = x}, "all_pairs", "tolerance"));
}
