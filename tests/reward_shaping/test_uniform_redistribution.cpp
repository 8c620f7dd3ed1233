#include "rlgaf/reward_shaping/uniform_redistribution.hpp"
#include "support/token_stage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::uniform_redistribution;

namespace {
template <class T>
shaping_step<T> redistributed(const table& shape, const table& mask, const table& outcomes,
                              layout how = layout::packed) {
    shaping_step<T> step{
        .log_prob = table_like(shape, [](auto, auto) { return not_a_number; }), .mask = mask, .how = how};
    for (int k = 0; k < 2; ++k) {
        step.begin(lengths_of(shape));
        for (const auto& values : outcomes) {
            const std::span<double> r = step.result.add_outcome("given");
            for (std::size_t i = 0; i < r.size(); ++i) r[i] = values[i];
        }
        step.run(uniform_redistribution{});
    }
    REQUIRE(step.allocated == 0);
    return step;
}
}  // namespace

TEST_CASE("uniform_redistribution moves a row's outcomes to its tokens") {
    auto step =
        redistributed<double>({{0, 0, 0, 0}, {}, {0}}, {{1, 0, 1, 1}, {}, {0}}, {{4, 5, 6}, {2, not_a_number, 1}});
    REQUIRE(gap(step.token(), {{2, 0, 2, 2}, {}, {0}}) == 0);
    REQUIRE(gap(step.outcome(0), {0, 5, 6}) == 0);  // rows without unmasked tokens keep theirs
    REQUIRE(step.outcome(1)[0] == 0);
    REQUIRE(std::isnan(step.outcome(1)[1]));
    REQUIRE(step.outcome(1)[2] == 1);
    step = redistributed<double>({{0, 0}}, {}, {{not_a_number}, {3}});
    REQUIRE(gap(step.token(), {{1.5, 1.5}}) == 0);
    REQUIRE(std::isnan(step.outcome(0)[0]));
}

TEST_CASE("uniform_redistribution keeps a row's sum, to the last token's rounding") {
    dice d(91);
    for (int i = 0; i < 1000; ++i) {
        table shape = random_shape(d, 4, 20);
        for (auto& row : shape)
            for (double& v : row) v = 0;
        const table mask = random_mask(d, shape);
        std::vector<double> outcome(shape.size());
        for (double& v : outcome) v = d.normal();
        for (const layout how : layouts) {
            auto wide = redistributed<double>(shape, mask, {outcome}, how);
            auto narrow = redistributed<float>(shape, mask, {outcome}, how);
            for (std::size_t b = 0; b < shape.size(); ++b) {
                const bool moved = wide.outcome(0)[b] == 0;
                double n = 0;
                for (std::size_t t = 0; t < shape[b].size(); ++t) n += included(mask, b, t);
                REQUIRE(moved == (n > 0));
                if (!moved) continue;
                REQUIRE(gap(row_sum(wide.token(), mask, b), outcome[b]) < 1e-14);
                REQUIRE(gap(row_sum(narrow.token(), mask, b), outcome[b]) < 1e-7 * std::abs(outcome[b]));
                for (std::size_t t = 0; t < shape[b].size(); ++t)
                    REQUIRE(gap(wide.token()[b][t], included(mask, b, t) ? outcome[b] / n : 0) < 1e-14);
            }
        }
    }
}

TEST_CASE("uniform_redistribution refuses what does not fit, by name") {
    check_token_stage(uniform_redistribution{}, "uniform_redistribution", "terms.log_prob");
}
