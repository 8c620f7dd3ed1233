#pragma once
/// The outcome of a stage that reads the batch's tokens.
#include "support/token_stage_checks.hpp"

namespace rlgaf_test {

/// The last outcome after the stage, for these tokens. In masked slots of the batch stands another number each time.
template <class T = double, class Stage>
std::vector<double> token_outcome(const Stage& stage, const table& tokens, const table& mask = {},
                                  const std::vector<std::uint32_t>& group = {}, const std::vector<double>& given = {},
                                  layout how = layout::packed) {
    shaping_step<T> step{.mask = mask, .group = group, .how = how};
    if (group.empty()) step.group.assign(tokens.size(), 0);
    step.groups = 4;
    std::vector<double> first;
    for (int k = 0; k < 3; ++k) {
        step.tokens = table_like(tokens, [&](std::size_t b, std::size_t t) {
            return included(mask, b, t) ? tokens[b][t] : static_cast<double>(1000 * k + 7 * static_cast<int>(b));
        });
        step.begin(lengths_of(tokens));
        if (!given.empty()) {
            const std::span<double> r = step.result.add_outcome("given");
            for (std::size_t i = 0; i < r.size(); ++i) r[i] = given[i];
        }
        step.run(stage);
        const std::vector<double> now = step.outcome(step.result.outcomes() - 1);
        if (k == 0) first = now;
        REQUIRE(same_bits(now, first));
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.view().token.empty());
    return first;
}

/// All runs of n unmasked tokens of a row, in order.
inline std::vector<std::vector<double>> ngrams_of(const table& tokens, const table& mask, std::size_t b,
                                                  std::size_t n) {
    std::vector<std::vector<double>> grams;
    for (std::size_t t = 0; t + n <= tokens[b].size(); ++t) {
        bool whole = true;
        for (std::size_t k = t; k < t + n; ++k) whole = whole && included(mask, b, k);
        if (whole)
            grams.emplace_back(tokens[b].begin() + static_cast<std::ptrdiff_t>(t),
                               tokens[b].begin() + static_cast<std::ptrdiff_t>(t + n));
    }
    return grams;
}

/// Both layouts and float agree; wrong shapes are refused by name.
template <class Stage>
void check_ngram_stage(const Stage& stage, const std::string& name) {
    const table rows = {{1, 2, 1, 2, 1}, {}, {1, 2, 1, 2}, {3, 3, 3, 3}},
                mask = {{1, 1, 1, 1, 0}, {}, {1, 1, 1, 1}, {1, 1, 1, 0}};
    const std::vector<double> given = {1, 2, 3, 4}, packed = token_outcome(stage, rows, mask, {}, given);
    REQUIRE(same_bits(packed, token_outcome(stage, rows, mask, {}, given, layout::padded)));
    REQUIRE(same_bits(packed, token_outcome<float>(stage, rows, mask, {}, given)));
    REQUIRE(gap(packed, given) > 0);
    shaping_step<double> step{.group = {0, 0}};
    step.tokens = {{1}, {2, 3}};
    const auto message = [&] {
        step.begin({1, 2});
        return message_of<rlgaf::shape_error>([&] { step.run(stage); });
    };
    REQUIRE(message() == "nothing thrown");
    step.mask = {{1}, {1}};
    REQUIRE(message() == "rlgaf::" + name + ": terms.mask row 1: expected 2 tokens, got 1");
    step.tokens = {};
    REQUIRE(message() == "rlgaf::" + name + ": tokens(batch): expected 2 elements, got 0");
}

}  // namespace rlgaf_test
