#include "rlgaf/data/tokenizer.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;
using rlgaf_test::message_of;
using ids = std::vector<std::int32_t>;

TEST_CASE("byte_tokenizer: any bytes survive", "[data]") {
    const byte_tokenizer tokens;
    REQUIRE(tokens.vocabulary_size() == 257);
    REQUIRE(tokens.eos() == 256);
    std::string all;
    for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
    REQUIRE(tokens.encode(all).size() == 256);
    REQUIRE(tokens.decode(tokens.encode(all)) == all);
    REQUIRE(tokens.encode("").empty());
    REQUIRE(tokens.encode("\xff") == ids{255});
}

TEST_CASE("byte_tokenizer: specials are explicit and never come out of text", "[data]") {
    const byte_tokenizer tokens({"bos", "sep"});
    REQUIRE(tokens.special("bos") == 256);
    REQUIRE(tokens.special("sep") == 257);
    REQUIRE(tokens.eos() == 258);
    REQUIRE(tokens.vocabulary_size() == 259);
    REQUIRE(tokens.encode("bos").size() == 3);
    REQUIRE(tokens.decode(ids{256, 'a', 257, 'b', 258, 'c'}) == "ab");
    REQUIRE(contains(message_of<numeric_error>([&] { tokens.decode(ids{'a', 259}); }), "ids[1]"));
    REQUIRE(contains(message_of<numeric_error>([&] { tokens.decode(ids{-1}); }), "expected 0..258, got -1"));
    REQUIRE_THROWS_AS(tokens.special("pad"), option_error);
    REQUIRE_THROWS_AS(byte_tokenizer({"a", "a"}), option_error);
    REQUIRE_THROWS_AS(byte_tokenizer({""}), option_error);
}

TEST_CASE("char_tokenizer: ids follow the alphabet", "[data]") {
    const char_tokenizer tokens("abcé😀");
    REQUIRE(tokens.vocabulary_size() == 6);
    REQUIRE(tokens.eos() == 5);
    REQUIRE(tokens.encode("é😀a") == ids{3, 4, 0});
    REQUIRE(tokens.decode(ids{3, 4, 0, 5, 1}) == "é😀a");
    REQUIRE(tokens.alphabet() == "abcé😀");
    REQUIRE_THROWS_AS(tokens.decode(ids{6}), numeric_error);
}

TEST_CASE("char_tokenizer: unknown characters", "[data]") {
    const std::string refused = message_of<numeric_error>([] { char_tokenizer("abé").encode("aéxb"); });
    REQUIRE(contains(refused, "'x' at byte 3"));
    REQUIRE(contains(message_of<numeric_error>([] { char_tokenizer("ab").encode("a\xff"); }), "byte 1"));
    REQUIRE(char_tokenizer("ab", unknown_character::skip).encode("axb") == ids{0, 1});
    const char_tokenizer replacing("ab", unknown_character::replace, {"bos"});
    REQUIRE(replacing.special("bos") == 2);
    REQUIRE(replacing.special("unknown") == 3);
    REQUIRE(replacing.eos() == 4);
    REQUIRE(replacing.encode("axb") == ids{0, 3, 1});
}

TEST_CASE("char_tokenizer: alphabets", "[data]") {
    const std::vector<std::string> texts{"banana", "café", ""};
    REQUIRE(char_tokenizer::from_texts(texts).alphabet() == "abcfné");
    REQUIRE(contains(message_of<option_error>([] { char_tokenizer("aba"); }), "'a' again"));
    REQUIRE_THROWS_AS(char_tokenizer(""), option_error);
    REQUIRE_THROWS_AS(char_tokenizer("a\x80"), option_error);
    REQUIRE_THROWS_AS(char_tokenizer::from_texts({}), option_error);
}
