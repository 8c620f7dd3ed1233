#include "rlgaf/reward_shaping/potential_shaping.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::potential_shaping;

TEST_CASE("potential_shaping pays differences of the potential, and takes it back at the end") {
    const table s = {{1, 4, 2}, {}, {-3}};
    REQUIRE(gap(token_reward(potential_shaping{}, s), {{1, 3, -4}, {}, {0}}) == 0);
    REQUIRE(gap(token_reward(potential_shaping{.discount = 0.5, .scale = 2, .initial = 1}, s),
                {{0, 2, -8}, {}, {-1}}) == 0);
    REQUIRE(gap(token_reward(potential_shaping{}, {{9, 1, 9, 4, 9}}, {{0, 1, 0, 1, 0}}), {{0, 1, 0, -1, 0}}) == 0);
    REQUIRE(gap(token_reward(potential_shaping{}, {{9}}, {{0}}), {{0}}) == 0);
}

TEST_CASE("potential_shaping at a cut: it ends there, or Phi stays for a critic to go on from") {
    const table s = {{1, 4}, {1, 4}};
    REQUIRE(gap(token_reward(potential_shaping{.discount = 0.5}, s, {}, layout::packed, {0, 1}),
                {{0.5, -1}, {0.5, -1}}) == 0);
    REQUIRE(gap(token_reward(potential_shaping{.discount = 0.5, .keep_at_cut = true}, s, {}, layout::packed, {0, 1}),
                {{0.5, -1}, {0.5, 1}}) == 0);
}

TEST_CASE("potential_shaping telescopes: the discounted sum of a row is -initial, or what is kept at a cut besides") {
    dice d(5);
    for (int i = 0; i < 2000; ++i) {
        table s = random_shape(d, 4, 8);
        for (auto& row : s)
            for (double& v : row) v = 3 * d.normal();
        const table mask = random_mask(d, s);
        std::vector<std::uint8_t> truncated(s.size());
        for (auto& x : truncated) x = d.chance(0.5);
        const potential_shaping stage{
            .discount = d.uniform(), .scale = d.normal(), .initial = d.normal(), .keep_at_cut = d.chance(0.5)};
        const table r = token_reward(stage, s, mask, layout::packed, truncated);
        for (std::size_t b = 0; b < s.size(); ++b) {
            double total = 0, weight = 1, last = 0;
            bool any = false;
            for (std::size_t t = 0; t < s[b].size(); ++t)
                if (included(mask, b, t)) {
                    total += weight * r[b][t];
                    weight *= stage.discount;
                    last = s[b][t];
                    any = true;
                }
            const double kept = stage.keep_at_cut && truncated[b] ? weight * stage.scale * last : 0;
            REQUIRE(gap(total, any ? kept - stage.initial : 0) < 1e-12);
        }
    }
}

namespace {
/// All rows of a small language: words 0 and 1, 1 ends a row, three words at most. The policy: a logit for every prefix.
struct small_task {
    std::vector<std::vector<int>> rows = {{1}, {0, 1}, {0, 0, 1}, {0, 0, 0}};
    std::vector<double> logit = {0.3, -0.4, 0.8};  // of word 1 after 0, 1, 2 words
    std::vector<double> outcome = {0.2, -1, 2, 0.7};

    double chance_to_end(std::size_t t) const { return 1 / (1 + std::exp(-logit[t])); }
    double probability(std::size_t row) const {
        double p = 1;
        for (std::size_t t = 0; t < rows[row].size(); ++t) p *= rows[row][t] ? chance_to_end(t) : 1 - chance_to_end(t);
        return p;
    }
    /// The exact policy gradient: sum over rows of p sum_t (d log pi_t) discount^t (return from t on).
    std::vector<double> gradient(const table& token, double discount) const {
        std::vector<double> g(logit.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            double to_go = outcome[i];
            for (std::size_t t = rows[i].size(); t-- > 0;) {
                to_go = token[i][t] + (t + 1 < rows[i].size() ? discount * to_go : outcome[i]);
                const double slope_of_log = (rows[i][t] ? 1.0 : 0.0) - chance_to_end(t);
                g[t] += probability(i) * slope_of_log * std::pow(discount, static_cast<double>(t)) * to_go;
            }
        }
        return g;
    }
};
}  // namespace

TEST_CASE("potential_shaping leaves the policy gradient of an enumerable task what it was; other shapings do not") {
    dice d(99);
    for (int i = 0; i < 300; ++i) {
        small_task task;
        for (auto* x : {&task.logit, &task.outcome})
            for (double& v : *x) v = d.normal();
        // A potential is a function of the prefix: rows that begin alike share it.
        const double after_0 = d.normal(), after_00 = d.normal();
        const table phi = {
            {d.normal()}, {after_0, d.normal()}, {after_0, after_00, d.normal()}, {after_0, after_00, d.normal()}};
        const double discount = i % 2 ? 1 : d.uniform(0.2, 1);
        const std::vector<double> plain = task.gradient(zeros(phi), discount);
        const potential_shaping stage{.discount = discount, .scale = 2, .initial = 0.7};
        REQUIRE(gap(task.gradient(token_reward(stage, phi, {}, layout::packed, {0, 0, 0, 1}), discount), plain) <
                1e-13);
        // what a cut row keeps without a bootstrap, and the scores themselves, move the gradient
        const potential_shaping kept{.discount = discount, .scale = 2, .initial = 0.7, .keep_at_cut = true};
        REQUIRE(gap(task.gradient(token_reward(kept, phi, {}, layout::packed, {0, 0, 0, 1}), discount), plain) > 1e-7);
        REQUIRE(gap(task.gradient(phi, discount), plain) > 1e-7);
    }
}

TEST_CASE("potential_shaping in both layouts and in float, and what it refuses") {
    check_token_stage(potential_shaping{.discount = 0.9}, "potential_shaping", "terms.token_score");
    shaping_step<double> step{.truncated = {0}};
    step.token_score = {{1}, {1}};
    step.begin({1, 1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(potential_shaping{.keep_at_cut = true}); }) ==
            "rlgaf::potential_shaping: terms.truncated: expected 2 elements, got 1");
    REQUIRE_NOTHROW(step.run(potential_shaping{}));
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(potential_shaping{.discount = x}, "potential_shaping", "discount"));
    for (const double x : {infinity, not_a_number}) {
        REQUIRE(refuses(potential_shaping{.scale = x}, "potential_shaping", "scale"));
        REQUIRE(refuses(potential_shaping{.initial = x}, "potential_shaping", "initial"));
    }
}
