#include <algorithm>
#include <numeric>

#include "rlgaf/policy_gradient/kl.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/policy_gradient/token_selection.hpp"
#include "support/factor_checks.hpp"

using namespace rlgaf_test;
using rlgaf::high_entropy_mask;
using rlgaf::off_policy_mask;

namespace {
const std::vector<std::string> off_policy_needs = {"log_prob", "behaviour_log_prob", "advantage"};
const std::vector<std::string> entropy_needs = {"entropy"};

factor_case with_entropy(const table& entropy, const table& mask = {}) {
    return {.entropy = entropy, .mask = mask, .factor = table_like(entropy, [](auto, auto) { return 1.0; })};
}
std::vector<double> unmasked(const factor_case& c, const table& x) {
    std::vector<double> out;
    for (std::size_t b = 0; b < x.size(); ++b)
        for (std::size_t t = 0; t < x[b].size(); ++t)
            if (included(c.mask, b, t)) out.push_back(x[b][t]);
    return out;
}
}  // namespace

TEST_CASE("off_policy_mask agrees with its definition on random cases, and with the rules of every component") {
    check_factor(
        "off_policy_mask", off_policy_needs,
        [](dice& d) { return off_policy_mask{d.chance(0.1) ? 0 : d.uniform(0, 1)}; },
        [](const off_policy_mask& o, const factor_case& c) {
            return table_like(c.factor, [&](auto b, auto t) {
                double sum = 0, tokens = 0;
                for (std::size_t s = 0; s < c.factor[b].size(); ++s)
                    if (included(c.mask, b, s)) sum += c.behaviour_log_prob[b][s] - c.log_prob[b][s], tokens += 1;
                return c.advantage[b][t] < 0 && sum / tokens > o.threshold ? 0.0 : 1.0;
            });
        });
}

TEST_CASE("off_policy_mask by hand: unlikely and bad is dropped, unlikely and good, or bad and likely is not") {
    factor_case c{.log_prob = {{-2, -2}, {-2, -2}, {-1, -1}, {-2, -1}},
                  .behaviour_log_prob = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}},
                  .advantage = {{-1, -1}, {1, 1}, {-1, -1}, {-1, -1}},
                  .factor = {{3, 3}, {3, 3}, {3, 3}, {3, 3}}};
    rlgaf::selection_stats s;
    REQUIRE(same_bits(run(off_policy_mask{0.6}, c, layout::packed, &s), table{{0, 0}, {3, 3}, {3, 3}, {3, 3}}));
    REQUIRE(s.tokens == 8);
    REQUIRE(s.dropped_tokens == 2);
    REQUIRE(s.rows == 4);
    REQUIRE(s.dropped_rows == 1);
    // At a kink: the last row's mean is 0.5, the threshold itself is kept. Advantage 0 is not negative.
    REQUIRE(run(off_policy_mask{0.5}, c)[3] == std::vector<double>{3, 3});
    REQUIRE(run(off_policy_mask{0.5 - 1e-9}, c)[3] == std::vector<double>{0, 0});
    c.advantage[3] = {0, -1};
    REQUIRE(run(off_policy_mask{0.4}, c)[3] == std::vector<double>{3, 0});
}

TEST_CASE("off_policy_mask at log-ratios of 200 and beyond") {
    for (const double far : {200.0, 1e4, infinity}) {
        factor_case c{.log_prob = {{-far}}, .behaviour_log_prob = {{0}}, .advantage = {{-1}}, .factor = {{1}}};
        REQUIRE(run(off_policy_mask{}, c)[0][0] == 0);
        c.advantage = {{1}};
        REQUIRE(run(off_policy_mask{}, c)[0][0] == 1);
        c = {.log_prob = {{0}}, .behaviour_log_prob = {{-far}}, .advantage = {{-1}}, .factor = {{1}}};
        REQUIRE(run(off_policy_mask{}, c)[0][0] == 1);
    }
}

TEST_CASE("high_entropy_mask agrees with the quantile by sorting, and with the rules of every component") {
    check_factor(
        "high_entropy_mask", entropy_needs,
        [](dice& d) { return high_entropy_mask{d.chance(0.1) ? 1 : d.uniform(0.01, 1)}; },
        [](const high_entropy_mask& o, const factor_case& c) {
            std::vector<double> sorted = unmasked(c, c.entropy);
            std::sort(sorted.begin(), sorted.end());
            // numpy's and torch's quantile interpolates between the two neighbours of its rank.
            double threshold = 0;
            if (!sorted.empty()) {
                const double rank = (1 - o.keep) * static_cast<double>(sorted.size() - 1);
                const auto below = static_cast<std::size_t>(rank);
                const double next = below + 1 < sorted.size() ? sorted[below + 1] : sorted[below];
                threshold = sorted[below] + (rank - static_cast<double>(below)) * (next - sorted[below]);
            }
            return table_like(c.factor, [&](auto b, auto t) { return c.entropy[b][t] >= threshold ? 1.0 : 0.0; });
        });
}

TEST_CASE("high_entropy_mask by hand: the upper fifth of ten tokens are two") {
    const factor_case c = with_entropy({{0.1, 0.9, 0.3}, {}, {0.8, 0.2, 0.4, 0.5}, {0.7, 0.0, 0.6}});
    rlgaf::selection_stats s;
    REQUIRE(same_bits(run(high_entropy_mask{}, c, layout::packed, &s), table{{0, 1, 0}, {}, {1, 0, 0, 0}, {0, 0, 0}}));
    REQUIRE(s.tokens == 10);
    REQUIRE(s.dropped_tokens == 8);
    REQUIRE(s.rows == 3);
    REQUIRE(s.dropped_rows == 3);
    REQUIRE(same_bits(run(high_entropy_mask{1}, c), c.factor));
    // However small the share, the largest one stays.
    REQUIRE(same_bits(run(high_entropy_mask{1e-9}, c), table{{0, 1, 0}, {}, {0, 0, 0, 0}, {0, 0, 0}}));
}

TEST_CASE("high_entropy_mask keeps the share that was asked for, without rounding trouble") {
    for (std::size_t n = 1; n <= 400; ++n)
        for (const double keep : {0.1, 0.2, 0.3, 0.5, 0.7, 0.9}) {
            factor_case c = with_entropy({std::vector<double>(n)});
            for (std::size_t t = 0; t < n; ++t) c.entropy[0][t] = static_cast<double>(t * 7919 % n) + 1e-3;
            double kept = 0;
            const table factor = run(high_entropy_mask{keep}, c);
            for (const double f : factor[0]) kept += f;
            // 1 + floor(keep (n - 1)) in whole numbers
            const auto tenths = static_cast<std::size_t>(keep * 10 + 0.5);
            if (std::gcd(std::size_t{7919}, n) == 1) REQUIRE(kept == static_cast<double>(1 + tenths * (n - 1) / 10));
        }
}

TEST_CASE("Trap: the entropy quantile is over unmasked tokens of the whole step, not over padding or a micro-batch") {
    // Masked zeros, as padding would give, would lower the quantile until everything is kept.
    const table entropy = {{5, 4, 0, 0, 0, 0}, {3, 2, 0, 0, 0, 0}}, mask = {{1, 1, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0}};
    const factor_case c = with_entropy(entropy, mask);
    REQUIRE(run(high_entropy_mask{0.5}, c)[0] == std::vector<double>{1, 1, 1, 1, 1, 1});
    REQUIRE(run(high_entropy_mask{0.5}, c)[1] == std::vector<double>{0, 0, 1, 1, 1, 1});
    // Row by row, each keeps its own upper half.
    REQUIRE(run(high_entropy_mask{0.4}, with_entropy({{5, 4}}))[0] == std::vector<double>{1, 0});
    REQUIRE(run(high_entropy_mask{0.4}, with_entropy({{3, 2}}))[0] == std::vector<double>{1, 0});
}

TEST_CASE("Trap: ties at the entropy threshold are all kept, in whatever order the rows come") {
    const table entropy = {{1, 2}, {2, 1}, {2, 1}, {1, 1}};
    for (const auto& order : {std::vector<std::size_t>{0, 1, 2, 3}, {3, 1, 0, 2}, {2, 3, 1, 0}}) {
        const table kept = run(high_entropy_mask{0.2}, with_entropy(permuted(entropy, order)));
        REQUIRE(same_bits(kept, permuted(table{{0, 1}, {1, 0}, {1, 0}, {0, 0}}, order)));
    }
    const factor_case equal = with_entropy({{0.7, 0.7}, {0.7}});
    REQUIRE(same_bits(run(high_entropy_mask{}, equal), equal.factor));
}

TEST_CASE("high_entropy_mask refuses an entropy that is not finite, by row and token") {
    for (const double x : {not_a_number, infinity})
        REQUIRE(message_of<rlgaf::numeric_error>([&] {
                    run(high_entropy_mask{}, with_entropy({{1}, {2, x}}));
                }).starts_with("rlgaf::high_entropy_mask: terms.entropy row 1 token 1: expected a finite number"));
    const factor_case masked = with_entropy({{1, not_a_number}}, {{1, 0}});
    REQUIRE(run(high_entropy_mask{}, masked)[0][0] == 1);
}

TEST_CASE("Trap: selections come before the KL term, which still acts on what they drop, and they change no count") {
    factor_case c = with_entropy({{2, 1}});
    c.log_prob = {{-3, -3}}, c.behaviour_log_prob = {{-1, -1}}, c.advantage = {{-1, -1}};
    factor_arrays<double> arrays(c, layout::packed);
    rlgaf::workspace work;
    ragged<double> reference({{-2, -2}}, layout::packed, 0.0), d({{0, 0}}, layout::packed, 0.0);
    const double weight[] = {0.5};
    const auto gradient = [&](const auto& loss) {
        ragged<double> out({{0, 0}}, layout::packed, 0.0);
        const auto stats = loss(rlgaf::policy_terms<double>{.log_prob = arrays.log_prob.view(),
                                                            .old_log_prob = arrays.log_prob.view(),
                                                            .advantage = arrays.advantage.view(),
                                                            .reference_log_prob = reference.view(),
                                                            .token_factor = arrays.factor.view()},
                                std::span<const double>(weight), out.view());
        REQUIRE(stats.tokens == 2);
        return out.rows();
    };
    const table kl = gradient(rlgaf::kl_loss{.beta = 1});
    high_entropy_mask{0.2}(arrays.terms(), work, arrays.factor.view());
    REQUIRE(gap(gradient(rlgaf::ppo_clip{}), table{{0.5, 0}}) < 1e-15);
    off_policy_mask{}(arrays.terms(), work, arrays.factor.view());
    REQUIRE(gap(gradient(rlgaf::ppo_clip{}), table{{0, 0}}) < 1e-15);
    REQUIRE(same_bits(gradient(rlgaf::kl_loss{.beta = 1}), kl));
}

TEST_CASE("Selections refuse options out of range by name") {
    for (const double x : {-0.1, not_a_number})
        REQUIRE(refuses(off_policy_mask{.threshold = x}, "off_policy_mask", "threshold"));
    for (const double x : {-0.1, 0.0, 1.1, not_a_number})
        REQUIRE(refuses(high_entropy_mask{.keep = x}, "high_entropy_mask", "keep"));
    REQUIRE_THROWS_AS(run(high_entropy_mask{0}, with_entropy({{1}})), rlgaf::option_error);
    REQUIRE_THROWS_AS(run(off_policy_mask{-1}, factor_case{}), rlgaf::option_error);
}
