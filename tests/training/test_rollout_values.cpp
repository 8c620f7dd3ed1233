#include <map>

#include "rlgaf/reward_shaping/rollout_reward.hpp"
#include "rlgaf/training/rollout_values.hpp"
#include "training/expected_gradient.hpp"

/// Monte-Carlo values of prefixes against what they must be on average, and what the policy learns of them.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

/// Tells every row apart: its tokens are its digits. A value in another place of the table is another number.
double digits(token_row row) {
    double sum = 0, place = 1;
    for (const std::int32_t token : row) sum += place * (token + 1), place /= 10;
    return sum;
}
double score_of(const batch& b, std::size_t i) { return digits(b.row(i)) - 2; }
constexpr auto as_it_is = [](double s) { return s; };

/// Remembers what it was asked to continue.
struct witness : ngram_policy<double> {
    using ngram_policy<double>::ngram_policy;
    explicit witness(const ngram_policy<double>& p) : ngram_policy<double>(p) {}
    std::vector<prefix> asked;
    std::vector<std::uint64_t> id;
    std::size_t largest_call = 0;

    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> ids,
                       const rollout_options& o, rng_key key) {
        asked.insert(asked.end(), from.begin(), from.end());
        id.insert(id.end(), ids.begin(), ids.end());
        largest_call = std::max(largest_call, from.size());
        return ngram_policy<double>::rollout_from(b, from, ids, o, key);
    }
};

/// Two judges: a table's score and 3, and the score less 1.
struct panel {
    using scalar = double;
    ngram_scorer<double>* first;
    std::size_t width() const { return 2; }
    void evaluate(const batch& b, std::span<double> score) {
        std::vector<double> one(rows(b));
        first->evaluate(b, one);
        for (std::size_t i = 0; i < one.size(); ++i) score[2 * i] = one[i] + 3, score[2 * i + 1] = one[i] - 1;
    }
    using tape = int;
    tape forward(const batch& b, std::span<double> score) { return evaluate(b, score), 0; }
};

/// After token v it always says next[v].
template <class Policy>
void always_says(Policy& policy, const std::vector<std::int32_t>& next) {
    for (std::size_t v = 0; v < next.size(); ++v)
        for (std::int32_t w = 0; w < 3; ++w)
            policy.logits()(policy.contexts().after(policy.contexts().start(), static_cast<std::int32_t>(v)),
                            static_cast<std::size_t>(w)) = w == next[v] ? 1e4 : -1e4;
}

trajectories<probe> sampled(probe& policy, std::size_t n, rng_key key = {}) {
    trajectories<probe> t;
    roll_out(policy, no_prompts{}, {.rows = n, .group_size = 0}, key, t);
    return t;
}
trajectories<probe> given(probe& policy, const batch& b) {
    policy.scripted = b;
    auto t = sampled(policy, rows(b));
    policy.scripted = {};
    return t;
}
batch with_log_probs(batch b) {
    b.log_prob.assign(b.token.size(), -1.0);
    return b;
}
std::vector<double> values_of(const trajectories<probe>& t) {
    REQUIRE(t.has_prefix_value);
    const auto flat = t.prefix_value.flat();
    return {flat.begin(), flat.end()};
}

/// Mean and deviation, over the policy's continuations, of what a row that begins like that is worth.
struct expected_value {
    double mean, deviation;
};
template <class Map>
expected_value value_of_prefix(const probe& policy, token_row said, Map&& map) {
    const auto worth = [&](token_row row) { return map(digits(row) - 2); };
    const double mean = value_after(policy, said, worth);
    const double square = value_after(policy, said, [&](token_row row) { return worth(row) * worth(row); });
    return {mean, std::sqrt(std::fmax(square - mean * mean, 0))};
}

}  // namespace

TEST_CASE("roll_out_values: a tree that is known by heart", "[training]") {
    // 1 is followed by 2, 2 by 1, and the fourth token is the last; 0 ends a row. All values by hand.
    probe policy = policy_of(4);
    always_says(policy, {0, 2, 1});
    auto t = given(policy, with_log_probs(rows_of<double>({{1, 1, 2, 0}, {2, 2, 2, 2}, {0}, {2, 0}, {1, 2, 1, 1}})));
    true_reward judge{[](const batch& b, std::size_t i) { return digits(b.row(i)); }};
    for (const std::size_t rollouts : {1u, 4u}) {  // means of equal numbers, exact in binary
        roll_out_values(policy, judge, t, {.rollouts = rollouts}, {}, as_it_is);
        const std::vector<std::vector<std::int32_t>> ends = {
            {1, 2, 1, 2}, {1, 1, 2, 1}, {1, 1, 2, 1}, {1, 1, 2, 0},  // 1, 1, 2, 0
            {2, 1, 2, 1}, {2, 2, 1, 2}, {2, 2, 2, 1}, {2, 2, 2, 2},  // 2, 2, 2, 2
            {0},                                                     // 0
            {2, 1, 2, 1}, {2, 0},                                    // 2, 0
            {1, 2, 1, 2}, {1, 2, 1, 2}, {1, 2, 1, 2}, {1, 2, 1, 1}   // 1, 2, 1, 1
        };
        std::vector<double> expected;
        for (const auto& row : ends) expected.push_back(digits(row));
        CHECK(values_of(t) == expected);
    }
}

TEST_CASE("roll_out_values: expected values, token for token", "[training]") {
    probe policy = policy_of(4);
    auto t = sampled(policy, 40, {.seed = 4});
    true_reward judge{&score_of};
    const std::size_t rollouts = 500;
    std::size_t told_apart = 0;
    const auto check = [&](auto map, auto&&... given_map) {
        roll_out_values(policy, judge, t, {.rollouts = rollouts}, {.seed = 4}, given_map...);
        const auto value = t.prefix_value_view();
        for (std::size_t b = 0; b < value.rows(); ++b)
            for (std::size_t i = 0; i < value.length(b); ++i) {
                const token_row row = t.batch.row(b);
                const auto [mean, deviation] = value_of_prefix(policy, row.first(i + 1), map);
                INFO("row " << b << ", token " << i);
                if (i + 1 == row.size()) {
                    REQUIRE(value.row(b)[i] == map(digits(row) - 2));
                    continue;
                }
                const double error = deviation / std::sqrt(static_cast<double>(rollouts));
                REQUIRE(std::abs(value.row(b)[i] - mean) <= 5 * error + 1e-12);
                // Another row's value at this place, or the row's own one token on, would show.
                const std::size_t other = (b + 1) % value.rows();
                if (i < value.length(other)) told_apart += std::abs(value.row(other)[i] - mean) > 5 * error;
                told_apart += std::abs(value.row(b)[i + 1] - mean) > 5 * error;
            }
    };
    check([](double s) { return sigmoid(s); });  // the default
    check(as_it_is, as_it_is);
    check([](double s) { return std::exp(s); }, [](double s) { return std::exp(s); });  // not of the mean score
    CHECK(told_apart > 100);
}

TEST_CASE("roll_out_values: by another policy than the one that is trained", "[training]") {
    probe policy = policy_of(3), average = policy_of(3, 8);
    auto t = sampled(policy, 30);
    true_reward judge{&score_of};
    roll_out_values(average, judge, t, {.rollouts = 400}, {}, as_it_is);
    std::size_t told_apart = 0;
    for (std::size_t b = 0; b < rows(t.batch); ++b)
        for (std::size_t i = 0; i + 1 < t.batch.length[b]; ++i) {
            const auto [mean, deviation] = value_of_prefix(average, t.batch.row(b).first(i + 1), as_it_is);
            const double value = t.prefix_value_view().row(b)[i], error = deviation / 20;
            REQUIRE(std::abs(value - mean) <= 5 * error + 1e-12);
            told_apart +=
                std::abs(value - value_of_prefix(policy, t.batch.row(b).first(i + 1), as_it_is).mean) > 5 * error;
        }
    CHECK(told_apart > 10);
}

TEST_CASE("roll_out_values: what is asked, and how often", "[training]") {
    probe policy = policy_of(4);
    auto t = sampled(policy, 50, {.seed = 1});
    std::size_t scored = 0;
    true_reward judge{[&](const batch& b, std::size_t i) { return ++scored, score_of(b, i); }};
    const auto run = [&](const rollout_value_options& o) {
        witness w(policy);
        scored = 0;
        roll_out_values(w, judge, t, o, {.seed = 1}, as_it_is);
        return w;
    };
    const witness w = run({.rollouts = 3});
    CHECK(w.asked.size() == 3 * (t.batch.token.size() - 50));
    CHECK(scored == w.asked.size() + 50);  // whole rows once
    std::vector<std::uint64_t> id = w.id;
    std::sort(id.begin(), id.end());
    CHECK(std::adjacent_find(id.begin(), id.end()) == id.end());
    for (std::size_t i = 0; i < w.asked.size(); ++i) {
        const auto [row, length] = w.asked[i];
        REQUIRE((length > 0 && length < t.batch.length[row]));
        REQUIRE(w.id[i] == (t.batch.offset[row] + length - 1) * 3 + i % 3);
    }
    const std::vector<double> values = values_of(t);
    for (const std::size_t rows_at_once : {1u, 2u, 7u, 64u, 0u}) {
        const witness parts = run({.rollouts = 3, .micro_batch_rows = rows_at_once});
        CHECK(values_of(t) == values);
        CHECK(parts.largest_call == (rows_at_once == 0 ? w.asked.size() : rows_at_once));
        CHECK(parts.asked.size() == w.asked.size());
    }
    run({.rollouts = 3, .sampling = {.temperature = 3}});
    CHECK(values_of(t) != values);

    // Rows of one token, and no rows at all, need no rollouts.
    auto brief = given(policy, with_log_probs(rows_of<double>({{0}, {2}})));
    witness idle(policy);
    roll_out_values(idle, judge, brief, {}, {}, as_it_is);
    CHECK(idle.asked.empty());
    CHECK(values_of(brief) == std::vector<double>{-1, 1});
}

TEST_CASE("roll_out_values: blocks of tokens share the value after the block", "[training]") {
    probe policy = policy_of(7);
    policy.logits()(policy.contexts().start(), 0) = -5;
    for (std::size_t c = 0; c < policy.contexts().count(); ++c) policy.logits()(c, 0) -= 2;  // longer rows
    auto t = sampled(policy, 40);
    true_reward judge{&score_of};
    witness w(policy);
    roll_out_values(w, judge, t, {.rollouts = 2}, {}, as_it_is);
    const std::vector<double> all = values_of(t);
    for (const std::size_t every : {2u, 3u, 7u, 100u}) {
        w.asked.clear();
        roll_out_values(w, judge, t, {.rollouts = 2, .every = every}, {}, as_it_is);
        const std::vector<double> values = values_of(t);
        std::size_t prefixes = 0;
        for (std::size_t b = 0; b < rows(t.batch); ++b)
            for (std::size_t i = 0; i < t.batch.length[b]; ++i) {
                const std::size_t end = std::min<std::size_t>((i / every + 1) * every, t.batch.length[b]) - 1;
                REQUIRE(values[t.batch.offset[b] + i] == all[t.batch.offset[b] + end]);
                prefixes += i == end && end + 1 < t.batch.length[b];
            }
        CHECK(w.asked.size() == 2 * prefixes);
    }
}

TEST_CASE("roll_out_values: masked tokens are never asked for", "[training]") {
    probe policy = policy_of(6);
    batch b;
    const auto add = [&](std::vector<std::int32_t> row, std::vector<std::uint8_t> included) {
        std::vector<double> log_prob(row.size(), -1);
        for (std::size_t i = 0; i < row.size(); ++i)
            if (!included[i]) log_prob[i] = std::numeric_limits<double>::quiet_NaN();
        b.add(row, row.back() == 0 ? row_end::terminated : row_end::truncated, log_prob, 1, included);
    };
    add({1, 2, 2, 1, 0}, {1, 0, 0, 1, 1});
    add({2, 2, 1, 1, 1, 1}, {0, 1, 1, 0, 1, 0});  // ends with a reply
    add({1, 2}, {0, 0});
    add({2, 1, 0}, {0, 0, 1});
    auto t = given(policy, b);
    true_reward judge{&score_of};
    witness w(policy);
    roll_out_values(w, judge, t, {.rollouts = 1}, {}, as_it_is);
    std::vector<std::pair<std::size_t, std::uint32_t>> asked;
    for (const auto& [row, length] : w.asked) asked.emplace_back(row, length);
    CHECK(asked == std::vector<std::pair<std::size_t, std::uint32_t>>{{0, 1}, {0, 4}, {1, 2}, {1, 3}});
    const auto value = t.prefix_value_view();
    CHECK(value.row(0)[4] == score_of(b, 0));
    CHECK(value.row(1)[4] == score_of(b, 1));
    CHECK(value.row(3)[2] == score_of(b, 3));
    for (std::size_t i = 0; i < rows(b); ++i)
        for (std::size_t k = 0; k < b.length[i]; ++k) CHECK((value.row(i)[k] == 0) == !mask(b).row(i)[k]);
    w.asked.clear();
    roll_out_values(w, judge, t, {.rollouts = 1, .every = 2}, {}, as_it_is);
    CHECK(w.asked.size() == 2);  // after tokens 3 of row 0 and 2 of row 1
    CHECK((w.asked[0].length == 4 && w.asked[1].length == 3));
}

TEST_CASE("roll_out_values: a discriminator of one number or of several", "[training]") {
    probe policy = policy_of(4);
    auto t = sampled(policy, 20);
    ngram_scorer<double> scorer({.shape = {.vocabulary = 3, .order = 2}, .initial_spread = 1});
    panel judges{&scorer};
    roll_out_values(policy, scorer, t, {.rollouts = 2}, {}, as_it_is);
    const std::vector<double> one = values_of(t);
    true_reward same{[&](const batch& b, std::size_t i) {
        std::vector<double> score(rows(b));
        scorer.evaluate(b, score);
        return score[i];
    }};
    roll_out_values(policy, same, t, {.rollouts = 2}, {}, as_it_is);
    CHECK(values_of(t) == one);
    roll_out_values(policy, judges, t, {.rollouts = 2}, {}, as_it_is);
    const std::vector<double> two = values_of(t);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(two[i] == Approx(one[i] + 1));  // the mean
}

TEST_CASE("roll_out_values: what is refused", "[training]") {
    probe policy = policy_of(3);
    auto t = sampled(policy, 10);
    true_reward judge{&score_of};
    CHECK(message_of<option_error>([&] { roll_out_values(policy, judge, t, {.rollouts = 0}, {}); }) ==
          "rlgaf::rollout_value_options: .rollouts: expected at least 1, got 0");
    CHECK_THROWS_AS(roll_out_values(policy, judge, t, {.every = 0}, {}), option_error);
    CHECK_THROWS_AS(roll_out_values(policy, judge, t, {.sampling = {.temperature = 0}}, {}), option_error);
    CHECK_THROWS_AS(roll_out_values(policy, judge, t, {.sampling = {.max_length = 1}}, {}), shape_error);
    true_reward broken{[](const batch& b, std::size_t i) { return b.length[i] == 3 ? NAN : 1.0; }};
    CHECK_THROWS_AS(roll_out_values(policy, broken, t, {}, {}), numeric_error);
    CHECK_THROWS_AS(roll_out_values(policy, judge, t, {}, {}, [](double s) { return s > 0.3 ? 1 / 0.0 : s; }),
                    numeric_error);
    CHECK(!t.has_prefix_value);
}

TEST_CASE("roll_out_values: the next value is this one, on average", "[training]") {
    // V(s_t) = Q_t-1: what a token adds has mean 0 wherever it is said. The mean of the first values is V of nothing.
    probe policy = policy_of(4);
    const std::size_t n = 6000;
    auto t = sampled(policy, n);
    true_reward judge{&score_of};
    roll_out_values(policy, judge, t, {.rollouts = 1}, {}, as_it_is);
    const double start = value_of_prefix(policy, {}, as_it_is).mean;
    std::map<std::vector<std::int32_t>, std::vector<double>> step;
    for (std::size_t b = 0; b < n; ++b) {
        const auto value = t.prefix_value_view().row(b);
        const token_row row = t.batch.row(b);
        for (std::size_t i = 0; i < row.size(); ++i)
            step[{row.begin(), row.begin() + static_cast<std::ptrdiff_t>(i)}].push_back(
                value[i] - (i == 0 ? start : value[i - 1]));
    }
    CHECK(step.size() == 1 + 2 + 4 + 8);
    for (const auto& [said, x] : step)
        CHECK(std::abs(mean_of(x)) < 5 * deviation_of(x) / std::sqrt(static_cast<double>(x.size())));
}

namespace {

/// SeqGAN's step, or VinePPO's: roll_out, roll_out_values, shape, update_policy.
template <class Advantage>
sample_mean steps_on_values(Advantage advantage, rollout_reward credit, std::size_t every, std::size_t group_rows,
                            std::uint32_t rounds) {
    probe policy = policy_of(3);
    part shaping{credit};
    part estimator{advantage};
    part loss{policy_gradient_loss{}};
    trajectories<probe> t;
    true_reward judge{[](const batch& b, std::size_t i) { return reward_of(b.row(i)); }};
    sample_mean m;
    gradient squares(policy.logits().size(), 0.0);
    m.mean.resize(squares.size());
    m.error.resize(squares.size());
    for (std::uint32_t k = 0; k < rounds; ++k) {
        const rng_key key{.seed = 6, .step = k};
        roll_out(policy, no_prompts{}, {.rows = group_rows, .group_size = 0}, key, t);
        CHECK(!t.has_prefix_value);
        score(judge, t);
        roll_out_values(policy, judge, t, {.rollouts = 2, .every = every}, key, as_it_is);
        shape(shaping, t);
        policy.ascent.assign(squares.size(), 0.0);
        update_policy(policy, t, {.aggregation = {.mode = aggregation::sequence_sum}}, key, estimator, loss);
        for (std::size_t j = 0; j < squares.size(); ++j) {
            m.mean[j] += policy.ascent[j] / rounds;
            squares[j] += policy.ascent[j] * policy.ascent[j] / rounds;
        }
    }
    for (std::size_t j = 0; j < squares.size(); ++j)
        m.error[j] = std::sqrt(std::fmax(squares[j] - m.mean[j] * m.mean[j], 0) / rounds);
    return m;
}

}  // namespace

TEST_CASE("roll_out_values: the policy's gradient", "[training]") {
    const probe policy = policy_of(3);
    const gradient exact = exact_gradient<double>(policy, reward_of);
    const reinforce plain{.baseline = reinforce_baseline::none, .discount = 0};
    const reinforce seqgan{.baseline = reinforce_baseline::per_step, .discount = 0};
    SECTION("Q alone is unbiased") { meets(steps_on_values(plain, {}, 1, 8, 6000), exact); }
    SECTION("so is Q after a block") { meets(steps_on_values(plain, {}, 2, 8, 6000), exact); }
    SECTION("and Q_t - Q_t-1, without a sum over later tokens") {
        meets(steps_on_values(plain, {.credit = rollout_credit::difference}, 1, 8, 6000), exact);
    }
    SECTION("the mean at a position takes the row's own share: of n rows there, n - 1 count") {
        // E[n - 1 where n > 0] / E[n], n binomial: how many of 8 rows get as far.
        const std::size_t size = 8;
        const enumerated<double> all = all_rows(policy);
        std::vector<double> reach(3, 0.0);
        for (std::size_t i = 0; i < all.probability.size(); ++i)
            for (std::size_t t = 0; t < all.rows.length[i]; ++t) reach[t] += all.probability[i];
        const gradient expected = log_likelihood_gradient<double>(policy, all.rows, [&](std::size_t i, std::size_t t) {
            const double there = static_cast<double>(size) * reach[t];
            const double any = 1 - std::pow(1 - reach[t], static_cast<double>(size));
            return all.probability[i] * reward_of(all.rows.row(i)) * (there - any) / there;
        });
        REQUIRE(relative_gap(exact, expected) > 0.1);
        meets(steps_on_values(seqgan, {}, 1, size, 6000), expected);
    }
}
