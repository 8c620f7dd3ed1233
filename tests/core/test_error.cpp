#include <type_traits>

#include "rlgaf/core/error.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::error_kind;
using rlgaf::fail;

TEST_CASE("An error names function, argument, expected and actual, and has the type of its kind") {
    const std::string text = "rlgaf::f: x: expected more, got less";
    REQUIRE(message_of<rlgaf::shape_error>([] { fail(error_kind::shape, "f", "x", "more", "less"); }) == text);
    REQUIRE(message_of<rlgaf::option_error>([] { fail(error_kind::option, "f", "x", "more", "less"); }) == text);
    REQUIRE(message_of<rlgaf::numeric_error>([] { fail(error_kind::numeric, "f", "x", "more", "less"); }) == text);
    REQUIRE(message_of<rlgaf::file_error>([] { fail(error_kind::file, "f", "x", "more", "less"); }) == text);
    static_assert(std::is_base_of_v<std::exception, rlgaf::error>);
    static_assert(std::is_base_of_v<rlgaf::error, rlgaf::shape_error>);
    static_assert(std::is_base_of_v<rlgaf::error, rlgaf::option_error>);
    static_assert(std::is_base_of_v<rlgaf::error, rlgaf::numeric_error>);
    static_assert(std::is_base_of_v<rlgaf::error, rlgaf::file_error>);
}

TEST_CASE("check_option and check_size speak only when something is wrong") {
    REQUIRE(message_of<rlgaf::option_error>([] { rlgaf::detail::check_option(false, "f", "x", "positive", -0.25); }) ==
            "rlgaf::f: .x: expected positive, got -0.25");
    REQUIRE(message_of<rlgaf::option_error>([] {
                rlgaf::detail::check_option(false, "f", "x", "positive", not_a_number);
            }) == "rlgaf::f: .x: expected positive, got nan");
    REQUIRE_NOTHROW(rlgaf::detail::check_option(true, "f", "x", "positive", 1));
    REQUIRE(message_of<rlgaf::shape_error>([] { rlgaf::detail::check_size(2, 3, "f", "x"); }) ==
            "rlgaf::f: x: expected 3 elements, got 2");
    REQUIRE_NOTHROW(rlgaf::detail::check_size(3, 3, "f", "x"));
}

TEST_CASE("The error handler can be replaced and put back") {
    const rlgaf::error_handler mine = [](error_kind, const char*) {};
    const rlgaf::error_handler before = rlgaf::set_error_handler(mine);
    REQUIRE(before != mine);
    REQUIRE(rlgaf::set_error_handler(before) == mine);
}
