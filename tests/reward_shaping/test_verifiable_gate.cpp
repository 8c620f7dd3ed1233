#include "rlgaf/reward_shaping/mixture.hpp"
#include "rlgaf/reward_shaping/normalize.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/verifiable_gate.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {
/// Rows of every kind: correct and well-formed, wrong, malformed, both, unchecked, without an adversarial reward.
shaping_step<double> every_kind() {
    shaping_step<double> step;
    step.begin(std::vector<std::uint32_t>(6, 1));
    step.group.assign(6, 0);
    const struct {
        const char* name;
        double value[6];
    } all[] = {{"discriminator", {2, 2, 2, 2, 2, not_a_number}},
               {"correct", {1, 0, 1, 0, not_a_number, 0}},
               {"format", {0.5, 1, 0, 0, not_a_number, 1}}};
    for (const auto& o : all) {
        const std::span<double> r = step.result.add_outcome(o.name);
        for (std::size_t i = 0; i < 6; ++i) r[i] = o.value[i];
    }
    return step;
}
/// The adversarial outcome after the gate, the last row apart.
std::vector<double> gated(const verifiable_gate& gate) {
    shaping_step<double> step = every_kind();
    step.run(gate);
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.outcomes() == 3);
    REQUIRE(std::isnan(step.outcome(0)[5]));
    REQUIRE(step.outcome(1)[1] == 0);
    REQUIRE(step.outcome(2)[0] == 0.5);
    std::vector<double> adversarial = step.outcome(0);
    adversarial.pop_back();
    return adversarial;
}
}  // namespace

TEST_CASE("verifiable_gate: PRISM's four modes") {
    // A (1 - F) - c_f F
    REQUIRE(gap(gated({.correct = "", .format = "format", .format_penalty = 1.5}), {2, 2, -1.5, -1.5, 2}) == 0);
    // A (1 - F)(1 - W) - c_w W - c_f F
    REQUIRE(gap(gated({.format = "format", .wrong_penalty = 1, .format_penalty = 1.5}), {2, -1, -1.5, -2.5, 2}) == 0);
    // a A (1 - F)(1 - W)
    REQUIRE(gap(gated({.format = "format", .weight = 0.5}), {1, 0, 0, 0, 1}) == 0);
    REQUIRE(gap(gated({.weight = 0.5}), {1, 0, 1, 0, 1}) == 0);
    // a A (1 - F)(1 - 2 W)
    REQUIRE(gap(gated({.format = "format", .form = gate_form::sign, .weight = 0.5}), {1, -1, 0, 0, 1}) == 0);
    // a threshold of its own
    REQUIRE(gap(gated({.correct = "", .format = "format", .threshold = 0.6}), {0, 2, 0, 0, 2}) == 0);
    REQUIRE(gap(gated({.correct = "correct", .threshold = -1}), {2, 2, 2, 2, 2}) == 0);
}

TEST_CASE("verifiable_gate refuses what does not fit, by name") {
    shaping_step<double> step = every_kind();
    const auto message = [&](const verifiable_gate& gate) { return message_of<option_error>([&] { step.run(gate); }); };
    const std::string rest = ": expected the name of an outcome that an earlier stage adds, got \"x\"";
    REQUIRE(message({.adversarial = "x"}) == "rlgaf::verifiable_gate: .adversarial" + rest);
    REQUIRE(message({.correct = "x"}) == "rlgaf::verifiable_gate: .correct" + rest);
    REQUIRE(message({.format = "x"}) == "rlgaf::verifiable_gate: .format" + rest);
    for (const double x : {infinity, not_a_number}) {
        REQUIRE(refuses(verifiable_gate{.threshold = x}, "verifiable_gate", "threshold"));
        REQUIRE(refuses(verifiable_gate{.weight = x}, "verifiable_gate", "weight"));
        REQUIRE(refuses(verifiable_gate{.wrong_penalty = x}, "verifiable_gate", "wrong_penalty"));
        REQUIRE(refuses(verifiable_gate{.format_penalty = x}, "verifiable_gate", "format_penalty"));
        REQUIRE(refuses(rank_malformed_last{.threshold = x}, "rank_malformed_last", "threshold"));
        REQUIRE(refuses(rank_malformed_last{.margin = x}, "rank_malformed_last", "margin"));
    }
    for (const double x : {-1.0}) {
        REQUIRE(refuses(verifiable_gate{.wrong_penalty = x}, "verifiable_gate", "wrong_penalty"));
        REQUIRE(refuses(verifiable_gate{.format_penalty = x}, "verifiable_gate", "format_penalty"));
        REQUIRE(refuses(rank_malformed_last{.margin = x}, "rank_malformed_last", "margin"));
    }
}

TEST_CASE("rank_malformed_last: below the smallest of the group's well-formed rows") {
    shaping_step<double> step;
    step.begin(std::vector<std::uint32_t>(7, 1));
    step.group = {0, 1, 0, 1, 0, 2, 0};
    step.groups = 4;
    const double a[] = {3, 9, 5, 50, 100, 4, not_a_number}, f[] = {1, 1, not_a_number, 0, 0, 0, 0};
    const std::span<double> r = step.result.add_outcome("discriminator");
    for (std::size_t i = 0; i < 7; ++i) r[i] = a[i];
    const std::span<double> formed = step.result.add_outcome("format");
    for (std::size_t i = 0; i < 7; ++i) formed[i] = f[i];
    step.run(rank_malformed_last{.margin = 2});
    const double expected[] = {3, 9, 5, 7, 1, -2};
    for (std::size_t i = 0; i < 6; ++i) REQUIRE(step.outcome(0)[i] == expected[i]);
    REQUIRE(std::isnan(step.outcome(0)[6]));
    step.group[0] = 4;
    REQUIRE(message_of<shape_error>([&] { step.run(rank_malformed_last{}); }) ==
            "rlgaf::rank_malformed_last: groups.id[0]: expected below 4, got 4");
}
