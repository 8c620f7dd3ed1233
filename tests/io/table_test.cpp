#include "rlgaf/io/table.hpp"

#include "support/catch.hpp"

using namespace rlgaf;

TEST_CASE("table: numbers to the right, text to the left, accents count once", "[io]") {
    table t({"method", "reward", "note"});
    t.row({"début", "1.25", "x"}).row({"grpo", "-10.5 ± 0.2", ""}).row({"ppo", "n/a", "3 words"});
    REQUIRE(t.text() ==
            "method       reward  note\n"
            "------  -----------  -------\n"
            "début          1.25  x\n"
            "grpo    -10.5 ± 0.2\n"
            "ppo             n/a  3 words\n");
}

TEST_CASE("table: Markdown", "[io]") {
    table t({"a|b", "n"}, table_style::markdown);
    t.row({"x|y", "41%"});
    REQUIRE(t.text() ==
            "| a\\|b |   n |\n"
            "| ---- | --: |\n"
            "| x\\|y | 41% |\n");
}

TEST_CASE("table: edges", "[io]") {
    REQUIRE(table({"a", "b"}).text() == "a  b\n-  -\n");
    REQUIRE_THROWS_AS(table({"a", "b"}).row({"1"}), shape_error);
    REQUIRE(detail::looks_numeric("1e-05"));
    REQUIRE(detail::looks_numeric("−3"));
    REQUIRE(detail::looks_numeric("12 / 34"));
    REQUIRE_FALSE(detail::looks_numeric("3-gram"));
    REQUIRE_FALSE(detail::looks_numeric("e"));
    REQUIRE_FALSE(detail::looks_numeric("\xff"));
}
