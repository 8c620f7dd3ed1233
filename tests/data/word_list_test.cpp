#include "rlgaf/data/word_list.hpp"

#include <algorithm>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;
using rlgaf_test::message_of;
using rlgaf_test::nothing_thrown;
using strings = std::vector<std::string>;

TEST_CASE("word_list: normalises, filters, keeps the order of the file and accounts for every line", "[data]") {
    const rlgaf_test::temp_dir dir;
    const auto path = dir.write("words",
                                "\xef\xbb\xbfZebra\r\n"
                                "\r\n"
                                "élève\n"
                                "  apple \t\n"
                                "ab\n"
                                "ELEVE\n"
                                "Straße\n"
                                "don't\n"
                                "aaaaaaaaaaaaaaa\n"
                                "aaaaaaaaaaaaaa\n"
                                "œuvre\n"
                                "ice cream\n"
                                "last");
    const word_list list = read_word_list(path);
    REQUIRE(list.words == strings{"zebra", "eleve", "apple", "aaaaaaaaaaaaaa", "last"});
    REQUIRE(list.lines == 13);
    REQUIRE(list.blank == 1);
    REQUIRE(list.too_short == 1);
    REQUIRE(list.too_long == 1);
    REQUIRE(list.outside_alphabet == 4);
    REQUIRE(list.repeated == 1);
    REQUIRE(list.words.size() + list.blank + list.too_short + list.too_long + list.outside_alphabet + list.repeated ==
            list.lines);
}

TEST_CASE("word_list: options", "[data]") {
    const strings words{"Élan", "elan", "Öl", "ölig", "abc"};
    REQUIRE(keep_words(words, {.min_length = 2}).words == strings{"elan", "ol", "olig", "abc"});
    REQUIRE(keep_words(words, {.strip_accents = false, .alphabet = "abcdefghijklmnopqrstuvwxyzäöüé"}).words ==
            strings{"élan", "elan", "ölig", "abc"});
    REQUIRE(keep_words(words, {.lower = false}).words == strings{"elan", "olig", "abc"});
    REQUIRE(keep_words(words, {.alphabet = "abc"}).words == strings{"abc"});
    REQUIRE(keep_words(strings{}).words.empty());
    REQUIRE(contains(message_of<option_error>([&] { keep_words(words, {.min_length = 0}); }), ".min_length"));
    REQUIRE(contains(message_of<option_error>([&] { keep_words(words, {.max_length = 2}); }), ".max_length"));
    REQUIRE(contains(message_of<option_error>([&] { keep_words(words, {.alphabet = ""}); }), ".alphabet"));
    REQUIRE(contains(message_of<option_error>([&] { keep_words(words, {.alphabet = "\xff"}); }), ".alphabet"));
}

TEST_CASE("word_list: a user's file is refused with its line", "[data]") {
    const rlgaf_test::temp_dir dir;
    const word_list_options strict{.on_reject = word_rejection::refuse};
    const auto message = [&](std::string_view bytes) {
        const auto path = dir.write("mine.txt", bytes);
        return message_of<file_error>([&] { read_word_list(path, strict); });
    };
    REQUIRE(contains(message("one\n\ntwo\naaaaaaaaaaaaaaa\n"), "mine.txt:4: expected a word of 3 to 14 letters"));
    REQUIRE(contains(message("one\nno\n"), "mine.txt:2"));
    REQUIRE(contains(message("one\nna1ve\n"), "mine.txt:2"));
    REQUIRE(message("one\nOne\nnaïve\n") == nothing_thrown);
    REQUIRE(contains(message_of<numeric_error>([&] { keep_words(strings{"one", "x"}, strict); }), "words[1]"));
}

TEST_CASE("word_list: broken files", "[data]") {
    const rlgaf_test::temp_dir dir;
    const auto message = [](const std::filesystem::path& path) {
        return message_of<file_error>([&] { read_word_list(path); });
    };
    REQUIRE(contains(message(dir / "none.txt"), "none.txt"));
    REQUIRE(contains(message(dir.path()), "a directory"));
    REQUIRE(contains(message(dir.write("empty.txt", "")), "empty.txt: expected one word a line, got an empty file"));
    REQUIRE(contains(message(dir.write("blank.txt", "\n \n\r\n")), "none in 3 lines"));
    const std::string bad = message(dir.write("bad.txt", "word\n caf\xe9\n"));
    REQUIRE(contains(bad, "bad.txt:2: expected UTF-8"));
    REQUIRE(contains(bad, "at byte 9"));
    REQUIRE(contains(message(dir.write("utf16.txt", std::string_view("\xff\xfew\0o\0", 6))), "utf16.txt:1"));
}
