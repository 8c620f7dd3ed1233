#include "rlgaf/io/text_width.hpp"

#include "support/catch.hpp"

using namespace rlgaf;

TEST_CASE("text_width: columns", "[io]") {
    REQUIRE(display_width("") == 0);
    REQUIRE(display_width("abc") == 3);
    REQUIRE(display_width("élève") == 5);
    REQUIRE(display_width("e\xcc\x81") == 1);
    REQUIRE(display_width("\xff\xfe") == 2);
    REQUIRE(truncate_to_width("élève", 3) == "élè");
    REQUIRE(truncate_to_width("e\xcc\x81x", 1) == "e\xcc\x81");
    REQUIRE(truncate_to_width("ab", 9) == "ab");
    REQUIRE(truncate_to_width("ab", 0).empty());
}
