#include "rlgaf/reward_shaping/gradient_redistribution.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/uniform_redistribution.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::gradient_redistribution;

namespace {
/// Of outcomes [outcomes][rows]; masked weights are NaN.
template <class T, class Stage = gradient_redistribution>
shaping_step<T> redistributed(const table& weight, const table& mask, const table& outcomes,
                              layout how = layout::packed) {
    const table hidden = table_like(
        weight, [&](std::size_t b, std::size_t t) { return included(mask, b, t) ? weight[b][t] : not_a_number; });
    shaping_step<T> step{.log_prob = hidden, .mask = mask, .how = how, .token_weight = hidden};
    for (int k = 0; k < 2; ++k) {
        step.begin(lengths_of(weight));
        for (const auto& values : outcomes) {
            const std::span<double> r = step.result.add_outcome("given");
            for (std::size_t i = 0; i < r.size(); ++i) r[i] = values[i];
        }
        step.run(Stage{});
    }
    REQUIRE(step.allocated == 0);
    return step;
}
}  // namespace

static_assert(rlgaf::needs_token_weight<gradient_redistribution>());
static_assert(rlgaf::needs_token_weight<rlgaf::pipeline<rlgaf::uniform_redistribution, gradient_redistribution>>());
static_assert(!rlgaf::needs_token_weight<rlgaf::uniform_redistribution>());

TEST_CASE("gradient_redistribution pays tokens by the size of their weight") {
    // 8 in the ratio 1 : 2 : 1, whatever the sign; two outcomes of a row are one sum.
    auto step = redistributed<double>({{1, -2, 1}, {0, 3}, {}}, {}, {{5, 1, 4}, {3, -7, 1}});
    REQUIRE(gap(step.token(), {{2, 4, 2}, {0, -6}, {}}) < 1e-15);
    REQUIRE(gap(step.outcome(0), {0, 0, 4}) == 0);  // a row without tokens keeps its outcomes
    REQUIRE(gap(step.outcome(1), {0, 0, 1}) == 0);
    // Scale does not matter.
    REQUIRE(gap(redistributed<double>({{1e-200, -2e-200, 1e-200}}, {}, {{8}}).token(), {{2, 4, 2}}) < 1e-15);
    REQUIRE(gap(redistributed<double>({{1e200, -2e200, 1e200}}, {}, {{8}}).token(), {{2, 4, 2}}) < 1e-15);
}

TEST_CASE("gradient_redistribution: masked tokens get nothing and are not read") {
    auto step = redistributed<double>({{1, 100, 3}, {5, 5}, {2, 9}}, {{1, 0, 1}, {0, 0}, {1, 0}}, {{8, 6, 3}});
    REQUIRE(gap(step.token(), {{2, 0, 6}, {0, 0}, {3, 0}}) < 1e-15);
    REQUIRE(step.result.outcome(0)[1] == 6);
}

TEST_CASE("gradient_redistribution: weights of 0 give equal parts, as uniform_redistribution") {
    const table zero = {{0, 0, 0, 0}, {0}, {}}, mask = {{1, 0, 1, 1}, {1}, {}}, outcome = {{1, 2, 3}};
    auto step = redistributed<double>(zero, mask, outcome);
    auto even = redistributed<double, rlgaf::uniform_redistribution>(zero, mask, outcome);
    REQUIRE(gap(step.token(), even.token()) < 1e-15);
    REQUIRE(gap(row_sum(step.token(), mask, 0), 1) < 1e-15);
    // One weight above 0 takes everything, also where the last token's is 0.
    REQUIRE(gap(redistributed<double>({{0, -1e-300, 0}}, {}, {{0.1}}).token(), {{0, 0.1, 0}}) == 0);
}

TEST_CASE("gradient_redistribution: what does not apply stays") {
    auto step = redistributed<double>({{1, 1}}, {}, {{not_a_number}, {3}});
    REQUIRE(gap(step.token(), {{1.5, 1.5}}) == 0);
    REQUIRE(std::isnan(step.outcome(0)[0]));
    REQUIRE(step.outcome(1)[0] == 0);
    // A row whose outcomes are all NaN is paid nothing.
    REQUIRE(gap(redistributed<double>({{1, 2}}, {}, {{not_a_number}}).token(), {{0, 0}}) == 0);
}

TEST_CASE("gradient_redistribution keeps a row's sum, to the last token's rounding") {
    dice d(92);
    for (int i = 0; i < 1000; ++i) {
        table weight = random_shape(d, 4, 20);
        for (auto& row : weight)
            for (double& v : row) v = d.normal() * std::exp(3 * d.normal());
        const table mask = random_mask(d, weight);
        std::vector<double> outcome(weight.size());
        for (double& v : outcome) v = d.normal();
        for (const layout how : layouts) {
            auto wide = redistributed<double>(weight, mask, {outcome}, how);
            auto narrow = redistributed<float>(weight, mask, {outcome}, how);
            for (std::size_t b = 0; b < weight.size(); ++b) {
                double sum = 0;
                for (std::size_t t = 0; t < weight[b].size(); ++t)
                    if (included(mask, b, t)) sum += std::abs(weight[b][t]);
                REQUIRE((wide.outcome(0)[b] == 0) == (sum > 0));
                if (sum == 0) continue;
                REQUIRE(gap(row_sum(wide.token(), mask, b), outcome[b]) < 1e-14);
                REQUIRE(gap(row_sum(narrow.token(), mask, b), outcome[b]) < 2e-7 * std::abs(outcome[b]));
                for (std::size_t t = 0; t < weight[b].size(); ++t) {
                    const double share = included(mask, b, t) ? outcome[b] * std::abs(weight[b][t]) / sum : 0;
                    REQUIRE(gap(wide.token()[b][t], share) < 1e-14);
                    REQUIRE(gap(narrow.token()[b][t], share) < 1e-6 * (1 + std::abs(outcome[b])));
                }
            }
        }
    }
}

TEST_CASE("gradient_redistribution: rows in another order are paid the same") {
    const table weight = {{1, 2, 3}, {4, -1}, {0, 0}}, turned = {{0, 0}, {4, -1}, {1, 2, 3}};
    const auto one = redistributed<double>(weight, {}, {{1, 2, 3}}).token(),
               other = redistributed<double>(turned, {}, {{3, 2, 1}}).token();
    for (std::size_t b = 0; b < 3; ++b) REQUIRE(gap(one[b], other[2 - b]) == 0);
}

TEST_CASE("gradient_redistribution refuses what does not fit, by name") {
    check_token_stage(gradient_redistribution{}, "gradient_redistribution", "terms.token_weight");
}
