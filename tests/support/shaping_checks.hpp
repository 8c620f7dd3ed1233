#pragma once
/// The surroundings of one reward stage.
#include <string>
#include <string_view>
#include <vector>

#include "rlgaf/reward_shaping/terms.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

namespace rlgaf_test {

struct no_batch {};

/// A batch that shows its tokens.
struct batch_with_tokens : no_batch {
    rlgaf::ragged_view<const std::int32_t> view;
    explicit batch_with_tokens(rlgaf::ragged_view<const std::int32_t> token) : view(token) {}
    friend rlgaf::ragged_view<const std::int32_t> tokens(const batch_with_tokens& b) { return b.view; }
};

/// The inputs of one step in one storage type; `result` collects what the stages add. Empty tables are not given.
template <class T>
struct shaping_step {
    std::vector<T> score{};
    table log_prob{}, reference_log_prob{}, mask{};
    std::vector<std::uint8_t> truncated{};
    std::vector<std::uint32_t> group{};
    std::size_t groups = 1;
    layout how = layout::packed;
    std::size_t width = 1;
    std::vector<T> expert_score{}, fixed_score{};
    table token_score{}, prefix_value{}, token_weight{};
    table tokens{};  ///< of the batch, which shows none if this is empty; masked slots hold any number
    rlgaf::rewards<T> result{};
    rlgaf::workspace work{};

    /// Starts a step whose rows have `lengths` tokens.
    void begin(const std::vector<std::uint32_t>& lengths) { result.begin(lengths); }

    template <class Stage>
    void run(const Stage& stage, rlgaf::state_of<Stage>& state) {
        const T guard = static_cast<T>(not_a_number);
        ragged<T> l(log_prob, how, guard), r(reference_log_prob, how, guard), t(token_score, how, guard),
            v(prefix_value, how, guard), w(token_weight, how, guard);
        ragged<std::uint8_t> m(mask, how, 1);
        ragged<std::int32_t> shown(tokens, how, -1);
        const rlgaf::shaping_terms<T> terms{.score = score,
                                            .log_prob = l.view(),
                                            .reference_log_prob = r.view(),
                                            .mask = m.view(),
                                            .truncated = truncated,
                                            .group = {group, groups},
                                            .width = width,
                                            .expert_score = expert_score,
                                            .fixed_score = fixed_score,
                                            .token_score = t.view(),
                                            .prefix_value = v.view(),
                                            .token_weight = w.view()};
        const batch_with_tokens batch(shown.view());
        allocated = allocations_of([&] { rlgaf::call(stage, state, terms, batch, result, work); });
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

/// What an archive of the state writes, in order; `from` is read instead where it is given.
template <class State>
std::vector<double> archived(State& state, const std::vector<double>* from = nullptr) {
    struct {
        const std::vector<double>* from;
        std::vector<double> values;
        void operator()(std::string_view, double& x) {
            if (from) x = from->at(values.size());
            values.push_back(x);
        }
        void operator()(std::string_view, std::uint64_t& x) {
            if (from) x = static_cast<std::uint64_t>(from->at(values.size()));
            values.push_back(static_cast<double>(x));
        }
    } archive{from, {}};
    state.visit(archive);
    return archive.values;
}
/// A state that has read what the other one wrote.
template <class State>
State copy_through_archive(State& state) {
    const std::vector<double> written = archived(state);
    State copy;
    archived(copy, &written);
    return copy;
}

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
