#include <limits>
#include <string>
#include <string_view>

#include "rlgaf/core/text.hpp"
#include "support/catch.hpp"

using rlgaf::basic_text;
using rlgaf::chars;
using rlgaf::short_text;

TEST_CASE("A text joins characters and numbers") {
    const std::string s = "row ";
    const std::string_view v = " token ";
    const short_text t(s, std::size_t{3}, v, -7, ": ", 0.1, " of ", short_text("x"));
    REQUIRE(t == "row 3 token -7: 0.1 of x");
    REQUIRE(std::string(t.c_str()) == "row 3 token -7: 0.1 of x");
    REQUIRE(t.size() == std::string(t.c_str()).size());
    REQUIRE(short_text(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
    REQUIRE(short_text(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    REQUIRE_FALSE(t == "row 3");
}

TEST_CASE("What does not fit in a text is cut off, and it stays terminated") {
    const basic_text<5> t("abc", 12345);
    REQUIRE(t == "abc12");
    REQUIRE(t.data()[5] == '\0');
    const basic_text<5> none;
    REQUIRE(none == "");
    const basic_text<5> copy = t;
    REQUIRE(copy == chars(t));
}
