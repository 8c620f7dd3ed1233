#include "rlgaf/data/utf8.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;

TEST_CASE("utf8: every scalar value survives encode and decode", "[data]") {
    std::u32string all;
    for (char32_t c = 0; c <= 0x10ffff; ++c)
        if (c < 0xd800 || c > 0xdfff) all.push_back(c);
    const std::string bytes = encode_utf8(all);
    REQUIRE(bytes.size() == 0x80 + 2u * 0x780 + 3u * (0x10000 - 0x800 - 0x800) + 4u * 0x100000);
    const decoded_utf8 decoded = decode_utf8(bytes);
    REQUIRE(decoded.ok());
    REQUIRE(decoded.code_points == all);
    REQUIRE(is_utf8(bytes));
}

TEST_CASE("utf8: ill-formed sequences are found where they start", "[data]") {
    struct {
        const char* what;
        std::string bytes;
    } const cases[] = {
        {"lone continuation byte", "\x80"},
        {"last continuation byte", "\xbf"},
        {"overlong NUL in two bytes", std::string("\xc0\x80", 2)},
        {"overlong slash in two bytes", "\xc0\xaf"},
        {"C1", "\xc1\xbf"},
        {"overlong in three bytes", "\xe0\x80\xaf"},
        {"largest overlong in three bytes", "\xe0\x9f\xbf"},
        {"overlong in four bytes", "\xf0\x80\x80\xaf"},
        {"largest overlong in four bytes", "\xf0\x8f\xbf\xbf"},
        {"first surrogate", "\xed\xa0\x80"},
        {"last surrogate", "\xed\xbf\xbf"},
        {"surrogate pair", "\xed\xa0\xbd\xed\xb8\x80"},
        {"U+110000", "\xf4\x90\x80\x80"},
        {"F5", "\xf5\x80\x80\x80"},
        {"five bytes", "\xf8\x88\x80\x80\x80"},
        {"FE", "\xfe"},
        {"FF", "\xff"},
        {"truncated two", "\xc3"},
        {"truncated three", "\xe2\x82"},
        {"truncated four", "\xf0\x9f\x98"},
        {"two followed by ASCII", "\xc3x"},
        {"three followed by ASCII", "\xe2\x82x"},
        {"three followed by a start", "\xe2\xc3\xa9"},
    };
    for (const auto& c : cases) {
        INFO(c.what);
        for (const std::string& prefix : {std::string(), std::string("ab\xc3\xa9")}) {
            REQUIRE(first_utf8_error(prefix + c.bytes) == prefix.size());
            REQUIRE(first_utf8_error(prefix + c.bytes + "tail") == prefix.size());
            const decoded_utf8 decoded = decode_utf8(prefix + c.bytes);
            REQUIRE_FALSE(decoded.ok());
            REQUIRE(decoded.error_at == prefix.size());
            REQUIRE(decoded.code_points.size() == (prefix.empty() ? 0 : 3));
        }
    }
}

TEST_CASE("utf8: all pairs of bytes agree with a table of the standard", "[data]") {
    // Unicode 15, table 3-7, first two bytes; the rest of the sequence is filled with 0x80 where it is legal.
    for (unsigned a = 0; a < 256; ++a)
        for (unsigned b = 0; b < 256; ++b) {
            const bool continuation = b >= 0x80 && b <= 0xbf;
            bool legal = false;
            std::size_t length = 0;
            if (a < 0x80) {
                legal = b < 0x80;
                length = 2;
            } else if (a >= 0xc2 && a <= 0xdf) {
                legal = continuation;
                length = 2;
            } else if (a >= 0xe0 && a <= 0xef) {
                legal = continuation && (a != 0xe0 || b >= 0xa0) && (a != 0xed || b <= 0x9f);
                length = 3;
            } else if (a >= 0xf0 && a <= 0xf4) {
                legal = continuation && (a != 0xf0 || b >= 0x90) && (a != 0xf4 || b <= 0x8f);
                length = 4;
            }
            std::string bytes{static_cast<char>(a), static_cast<char>(b)};
            while (bytes.size() < length) bytes.push_back('\x80');
            if (is_utf8(bytes) != legal) FAIL("bytes " << a << " " << b);
        }
}

TEST_CASE("utf8: what cannot be encoded is refused", "[data]") {
    std::string out;
    for (const char32_t c : {char32_t{0xd800}, char32_t{0xdfff}, char32_t{0x110000}, char32_t{0xffffffff}})
        REQUIRE_THROWS_AS(append_utf8(out, c), numeric_error);
    REQUIRE(out.empty());
    REQUIRE(decode_utf8("").ok());
}
