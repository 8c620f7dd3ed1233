#include "rlgaf/data/strip_accents.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;

TEST_CASE("strip_accents: U+00C0..U+017F as Unicode's lower case and NFKD without marks", "[data]") {
    // Written by an independent implementation of the Unicode character database.
    const std::string_view expected =
        "a a a a a a æ c e e e e i i i i ð n o o o o o × ø u u u u y þ ß "
        "a a a a a a æ c e e e e i i i i ð n o o o o o ÷ ø u u u u y þ y "
        "a a a a a a c c c c c c c c d d đ đ e e e e e e e e e e g g g g "
        "g g g g h h ħ ħ i i i i i i i i i ı ij ij j j k k ĸ l l l l l l l· "
        "l· ł ł n n n n n n ʼn ŋ ŋ o o o o o o œ œ r r r r r r s s s s s s "
        "s s t t t t ŧ ŧ u u u u u u u u u u u u w w y y y z z z z z z s ";
    std::string actual;
    for (char32_t c = 0xc0; c < 0x180; ++c)
        actual += encode_utf8(strip_accents_lower(std::u32string_view(&c, 1))) + " ";
    REQUIRE(actual == expected);
}

TEST_CASE("strip_accents: words", "[data]") {
    REQUIRE(strip_accents_lower("Élève") == "eleve");
    REQUIRE(strip_accents_lower("ÜBERGRÖSSE") == "ubergrosse");
    REQUIRE(strip_accents_lower("perché") == "perche");
    REQUIRE(strip_accents_lower("Mañana") == "manana");
    REQUIRE(strip_accents_lower("e\xcc\x81t\xc3\xa9") == "ete");  // combining acute, and composed
    REQUIRE(strip_accents_lower("œuvre") == "œuvre");
    REQUIRE(strip_accents_lower("Straße") == "straße");
    REQUIRE(strip_accents_lower("STRA\xe1\xba\x9e"
                                "E") == "straße");
    REQUIRE(strip_accents_lower("of\xef\xac\x81"
                                "ce") == "office");
    REQUIRE(strip_accents_lower("1\xc2\xaa") == "1a");
    REQUIRE(strip_accents_lower("日本 Ж don't") == "日本 Ж don't");
    REQUIRE(strip_accents_lower("") == "");
    REQUIRE(strip_accents(U"ÉA") == U"EA");
    REQUIRE(to_lower(U"ÉÀ×ŸŻ") == U"éà×ÿż");
    REQUIRE(rlgaf_test::contains(
        rlgaf_test::message_of<numeric_error>([] { strip_accents_lower(std::string_view("ab\xff")); }), "byte 2"));
}
