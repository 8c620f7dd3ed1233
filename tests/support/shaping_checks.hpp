#pragma once
/// The surroundings of one reward stage.
#include <string>
#include <vector>

#include "rlgaf/reward_shaping/terms.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

namespace rlgaf_test {

struct no_batch {};

/// The inputs of one step in one storage type; `result` collects what the stages add. Empty tables are not given.
template <class T>
struct shaping_step {
    std::vector<T> score{};
    table log_prob{}, reference_log_prob{}, mask{};
    std::vector<std::uint8_t> truncated{};
    std::vector<std::uint32_t> group{};
    std::size_t groups = 1;
    layout how = layout::packed;
    rlgaf::rewards<T> result{};
    rlgaf::workspace work{};

    /// Starts a step whose rows have `lengths` tokens.
    void begin(const std::vector<std::uint32_t>& lengths) { result.begin(lengths); }

    template <class Stage>
    void run(const Stage& stage, rlgaf::state_of<Stage>& state) {
        ragged<T> l(log_prob, how, static_cast<T>(not_a_number)),
            r(reference_log_prob, how, static_cast<T>(not_a_number));
        ragged<std::uint8_t> m(mask, how, 1);
        const rlgaf::shaping_terms<T> terms{score, l.view(), r.view(), m.view(), truncated, {group, groups}};
        allocated = allocations_of([&] { rlgaf::call(stage, state, terms, no_batch{}, result, work); });
    }
    template <class Stage>
    void run(const Stage& stage) {
        rlgaf::state_of<Stage> state;
        run(stage, state);
    }
    std::vector<double> outcome(std::size_t k) { return {result.outcome(k).begin(), result.outcome(k).end()}; }
    table token() {
        table out;
        for (std::size_t b = 0; b < result.rows(); ++b) {
            const auto row = result.token().row(b);
            out.emplace_back(row.begin(), row.end());
        }
        return out;
    }
    std::size_t allocated = 0;  ///< by the last stage
};

/// A step of rows of one token whose only outcomes are the given ones.
inline shaping_step<double> step_with(const table& outcomes, const std::vector<std::uint32_t>& group = {}) {
    shaping_step<double> step;
    const std::size_t rows = outcomes.at(0).size();
    step.begin(std::vector<std::uint32_t>(rows, 1));
    step.group = group.empty() ? std::vector<std::uint32_t>(rows, 0) : group;
    for (const std::uint32_t id : step.group) step.groups = id + 1 > step.groups ? id + 1 : step.groups;
    for (const auto& values : outcomes) {
        const std::span<double> r = step.result.add_outcome("given");
        for (std::size_t i = 0; i < rows; ++i) r[i] = values[i];
    }
    return step;
}

}  // namespace rlgaf_test
