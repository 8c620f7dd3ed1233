#pragma once
/// The outcome of a stage that looks at how many tokens of a row are unmasked.
#include "support/shaping_checks.hpp"

namespace rlgaf_test {

/// The last outcome after the stage, for rows of `lengths` tokens. What tokens hold is not read.
template <class T = double, class Stage>
std::vector<double> length_reward(const Stage& stage, const std::vector<std::uint32_t>& lengths, const table& mask = {},
                                  const std::vector<double>& given = {}) {
    shaping_step<T> step{.mask = mask};
    for (const std::uint32_t n : lengths) step.log_prob.emplace_back(n, not_a_number);
    for (int k = 0; k < 2; ++k) {
        step.begin(lengths);
        if (!given.empty()) {
            const std::span<double> r = step.result.add_outcome("discriminator");
            for (std::size_t i = 0; i < r.size(); ++i) r[i] = given[i];
        }
        step.run(stage);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.view().token.empty());
    return step.outcome(step.result.outcomes() - 1);
}

/// Wrong shapes are refused by name.
template <class Stage>
void check_length_stage(const Stage& stage, const std::string& name) {
    shaping_step<double> step{.log_prob = {{1}, {1, 2}}};
    const auto message = [&] {
        step.begin({1, 2});
        step.result.add_outcome("discriminator");
        return message_of<rlgaf::shape_error>([&] { step.run(stage); });
    };
    REQUIRE(message() == "nothing thrown");
    step.mask = {{1}, {1}};
    REQUIRE(message() == "rlgaf::" + name + ": terms.mask row 1: expected 2 tokens, got 1");
    step.mask = step.log_prob = {};
    REQUIRE(message() == "rlgaf::" + name + ": terms.log_prob: expected 2 elements, got 0");
}

}  // namespace rlgaf_test
