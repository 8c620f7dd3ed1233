#include "rlgaf/backend/adamw.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::adamw;

TEST_CASE("Trap 30: a step that is discarded moves neither values nor Adam's moments, nor does it count as a step") {
    struct optimised {
        std::vector<double> value{1, -2, 3}, gradient{0, 0, 0};
        adamw::state<double> memory{};

        bool step(const std::vector<double>& g) {
            gradient = g;
            const std::vector<rlgaf::parameter_block<double>> blocks{{{}, {}, value, gradient}};
            const bool applied =
                adamw{.weight_decay = 0.1}(memory, std::span<const rlgaf::parameter_block<double>>(blocks),
                                           {.learning_rate = 0.1, .max_norm = 1})
                    .applied;
            REQUIRE(gradient == std::vector<double>{0, 0, 0});
            return applied;
        }
    } plain, disturbed;
    dice d(30);
    for (int k = 0; k < 5; ++k) {
        const std::vector<double> g{d.normal(), d.normal(), d.normal()};
        REQUIRE(!disturbed.step({g[0], k % 2 == 0 ? not_a_number : infinity, g[2]}));
        REQUIRE(plain.step(g));
        REQUIRE(disturbed.step(g));
        REQUIRE(same_bits(plain.value, disturbed.value));
        REQUIRE(same_bits(plain.memory.first, disturbed.memory.first));
        REQUIRE(same_bits(plain.memory.second, disturbed.memory.second));
        REQUIRE(plain.memory.steps == disturbed.memory.steps);
    }
}

TEST_CASE("adamw's first step is the learning rate along the sign of the gradient, after the decay") {
    std::vector<double> value{1, -2}, gradient{3, -1e-3};
    adamw::state<double> memory;
    const std::vector<rlgaf::parameter_block<double>> blocks{{{}, {}, value, gradient}};
    adamw{.weight_decay = 0.5}(memory, std::span<const rlgaf::parameter_block<double>>(blocks),
                               {.learning_rate = 0.1, .max_norm = 0});
    REQUIRE(gap(value, {0.95 - 0.1, -1.9 + 0.1}) < 1e-5);
}
