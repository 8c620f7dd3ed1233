#include "rlgaf/reward_shaping/duplicate_discount.hpp"
#include "support/ngram_checks.hpp"

using namespace rlgaf_test;
using rlgaf::duplicate_discount;

TEST_CASE("duplicate_discount: equal answers to a prompt share their reward") {
    const duplicate_discount stage;
    const table rows = {{1, 2}, {1, 2}, {1, 3}, {1, 2}, {1, 2}, {}, {}};
    const std::vector<double> given = {6, 3, 5, -4, 8, 2, not_a_number};
    const std::vector<double> r = token_outcome(stage, rows, {}, {0, 0, 0, 0, 1, 1, 1}, given);
    REQUIRE(gap(std::vector<double>(r.begin(), r.end() - 1), {2, 1, 5, -4, 8, 1}) == 0);
    REQUIRE(std::isnan(r[6]));
    // what is masked does not make rows different, and its place neither; a beginning is not the whole
    REQUIRE(
        gap(token_outcome(stage, {{9, 1, 2}, {1, 8, 2}, {1, 2, 3}}, {{0, 1, 1}, {1, 0, 1}, {1, 1, 1}}, {}, {1, 1, 1}),
            {0.5, 0.5, 1}) == 0);
    REQUIRE(gap(token_outcome(stage, {{9}, {8}}, {{0}, {0}}, {}, {1, 1}), {0.5, 0.5}) == 0);
}

TEST_CASE("duplicate_discount refuses what does not fit, by name") {
    check_ngram_stage(duplicate_discount{}, "duplicate_discount");
    shaping_step<double> step{.group = {1}};
    step.tokens = {{1}};
    step.begin({1});
    REQUIRE(message_of<rlgaf::shape_error>([&] { step.run(duplicate_discount{}); }) ==
            "rlgaf::duplicate_discount: groups.id[0]: expected below 1, got 1");
}
