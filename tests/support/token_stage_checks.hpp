#pragma once
/// What every stage owes that pays tokens: see check_token_stage.
#include "support/shaping_checks.hpp"

namespace rlgaf_test {

/// The tokens of these rows, one after the other.
inline std::vector<std::uint32_t> lengths_of(const table& rows) {
    std::vector<std::uint32_t> n;
    for (const auto& row : rows) n.push_back(static_cast<std::uint32_t>(row.size()));
    return n;
}
/// Sum of a row's unmasked tokens.
inline double row_sum(const table& x, const table& mask, std::size_t b) {
    double total = 0;
    for (std::size_t t = 0; t < x[b].size(); ++t)
        if (included(mask, b, t)) total += x[b][t];
    return total;
}

/// What the stage pays the tokens of a step whose arrays of tokens are all `x`: it is added to what is there, masked slots
/// are neither read nor paid, nothing allocates.
template <class T = double, class Stage>
table token_reward(const Stage& stage, const table& x, const table& mask = {}, layout how = layout::packed,
                   const std::vector<std::uint8_t>& truncated = {}) {
    shaping_step<T> step{.mask = mask, .truncated = truncated, .how = how};
    step.group.assign(x.size(), 0);
    if (step.truncated.empty()) step.truncated.assign(x.size(), 0);
    const table masked =
        table_like(x, [&](std::size_t b, std::size_t t) { return included(mask, b, t) ? x[b][t] : not_a_number; });
    step.log_prob = step.token_score = step.prefix_value = step.token_weight = masked;
    for (int k = 0; k < 2; ++k) {
        step.begin(lengths_of(x));
        for (std::size_t b = 0; b < x.size(); ++b)
            for (T& r : step.result.token().row(b)) r = 8;
        step.run(stage);
    }
    REQUIRE(step.allocated == 0);
    table paid = step.token();
    for (std::size_t b = 0; b < x.size(); ++b)
        for (std::size_t t = 0; t < x[b].size(); ++t) {
            paid[b][t] -= 8;
            if (!included(mask, b, t)) REQUIRE(paid[b][t] == 0);
        }
    return paid;
}

/// Both layouts and float agree; wrong shapes are refused by name.
template <class Stage>
void check_token_stage(const Stage& stage, const std::string& name, const std::string& argument,
                       double tolerance = 1e-5) {
    dice d(77 + name.size());
    for (int i = 0; i < 300; ++i) {
        table x = random_shape(d, 5, 6);
        for (auto& row : x)
            for (double& v : row) v = static_cast<double>(static_cast<float>(2 * d.normal()));
        const table mask = random_mask(d, x), packed = token_reward(stage, x, mask);
        REQUIRE(same_bits(packed, token_reward(stage, x, mask, layout::padded)));
        const table narrow = token_reward<float>(stage, x, mask);
        REQUIRE(gap(narrow, packed) < tolerance);
    }
    const auto message = [&](const table& x, const table& mask) {
        shaping_step<double> step{.log_prob = x, .mask = mask, .truncated = {0, 0}, .group = {0, 0}};
        step.token_score = step.prefix_value = step.token_weight = x;
        step.begin({1, 2});
        return message_of<rlgaf::shape_error>([&] { step.run(stage); });
    };
    const std::string start = "rlgaf::" + name + ": ";
    REQUIRE(message({{1}, {1, 2}}, {}) == "nothing thrown");
    REQUIRE(message({}, {}) == start + argument + ": expected 2 elements, got 0");
    REQUIRE(message({{1}, {1}}, {}) == start + argument + " row 1: expected 2 tokens, got 1");
    REQUIRE(message({{1}, {1, 2}}, {{1}, {1}}) == start + "terms.mask row 1: expected 2 tokens, got 1");
}

}  // namespace rlgaf_test
