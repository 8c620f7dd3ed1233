#include "rlgaf/data/jsonl.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;
using rlgaf_test::message_of;
using rlgaf_test::nothing_thrown;

TEST_CASE("jsonl: prompts and completions", "[data]") {
    const rlgaf_test::temp_dir dir;
    const auto path =
        dir.write("a.jsonl",
                  "\xef\xbb\xbf{\"prompt\":\"Hi\",\"completion\":\"Hello \\ud83d\\ude00\\n\"}\r\n"
                  " {\"text\": \"alone\", \"id\": 7, \"tags\": [1, {\"text\": \"inner\"}], \"x\": null} \n"
                  "{\"completion\":\"\",\"score\":-1.5e3,\"ok\":true}");
    const auto lines = read_jsonl(path);
    REQUIRE(lines.size() == 3);
    REQUIRE(lines[0].prompt == "Hi");
    REQUIRE(lines[0].completion == "Hello 😀\n");
    REQUIRE(lines[1].prompt.empty());
    REQUIRE(lines[1].completion == "alone");
    REQUIRE(lines[2].completion.empty());
    dir.write("b.jsonl", "{\"text\":\"x\"}\n");
    REQUIRE(read_jsonl(dir / "b.jsonl").size() == 1);
}

TEST_CASE("jsonl: every defect is refused with its line", "[data]") {
    const rlgaf_test::temp_dir dir;
    const std::string nested = std::string(200000, '[');
    struct {
        const char* what;
        std::string line;
        const char* message;
    } const cases[] = {
        {"empty line", "", "got an empty line"},
        {"spaces", "  \t", "got an empty line"},
        {"not JSON", "hello", "a syntax error at byte 1"},
        {"array", "[]", "an object, got an array"},
        {"string", "\"text\"", "an object, got a string"},
        {"number", "12", "an object, got a number"},
        {"null", "null", "an object, got null"},
        {"two objects", "{\"text\":\"a\"}{\"text\":\"b\"}", "a syntax error"},
        {"cut", "{\"text\":\"a\"", "a syntax error"},
        {"cut string", "{\"text\":\"a", "a syntax error"},
        {"trailing comma", "{\"text\":\"a\",}", "a syntax error"},
        {"comment", "{\"text\":\"a\"} // x", "a syntax error"},
        {"single quotes", "{'text':'a'}", "a syntax error"},
        {"NaN", "{\"text\":\"a\",\"x\":NaN}", "a syntax error"},
        {"control character", "{\"text\":\"a\tb\"}", "a syntax error"},
        {"NUL behind the object", std::string("{\"text\":\"a\"}\0garbage", 20), "a NUL at byte 13"},
        {"lone surrogate", "{\"text\":\"\\ud800\"}", "a syntax error"},
        {"not UTF-8", "{\"text\":\"\xe9\"}", "an ill-formed sequence at byte 10 of the line"},
        {"overlong", "{\"text\":\"\xc0\xaf\"}", "an ill-formed sequence"},
        {"neither", "{\"prompt\":\"a\"}", "a field 'completion' or 'text', got none"},
        {"both", "{\"text\":\"a\",\"completion\":\"a\"}", "got both"},
        {"key twice", "{\"text\":\"a\",\"text\":\"b\"}", "'text' twice"},
        {"key twice, once escaped", "{\"text\":\"a\",\"te\\u0078t\":\"b\"}", "'text' twice"},
        {"other key twice", "{\"text\":\"a\",\"x\":1,\"x\":1}", "'x' twice"},
        {"inner key twice", "{\"text\":\"a\",\"x\":[{\"y\":1,\"y\":1}]}", "'y' twice"},
        {"completion is a number", "{\"completion\":1}", "a string for 'completion', got a number"},
        {"completion is null", "{\"completion\":null}", "a string for 'completion', got null"},
        {"prompt is an array", "{\"completion\":\"\",\"prompt\":[\"a\"]}", "a string for 'prompt', got an array"},
        {"text is an object", "{\"text\":{}}", "a string for 'text', got an object"},
        {"deep", "{\"text\":\"a\",\"x\":" + nested + "}", "at most 32 levels"},
    };
    for (const auto& c : cases) {
        INFO(c.what);
        const auto path = dir.write("bad.jsonl", "{\"text\":\"good\"}\n" + c.line + "\n{\"text\":\"good\"}\n");
        const std::string message = message_of<file_error>([&] { read_jsonl(path); });
        CAPTURE(message);
        REQUIRE(contains(message, path.string() + ":2: expected "));
        REQUIRE(contains(message, c.message));
    }
}

TEST_CASE("jsonl: limits and files", "[data]") {
    const rlgaf_test::temp_dir dir;
    const auto message = [](const std::filesystem::path& path, const jsonl_options& options = {}) {
        return message_of<file_error>([&] { read_jsonl(path, options); });
    };
    const auto path = dir.write("a", "{\"text\":\"aaaa\",\"x\":{\"y\":[]}}\n");
    REQUIRE(message(path, {.max_line_bytes = 28}) == nothing_thrown);
    REQUIRE(contains(message(path, {.max_line_bytes = 27}), "a:1: expected at most 27 bytes, got 28"));
    REQUIRE(message(path, {.max_depth = 3}) == nothing_thrown);
    REQUIRE(contains(message(path, {.max_depth = 2}), "a:1: expected at most 2 levels"));
    REQUIRE(contains(message(path, {.max_file_bytes = 28}), "at most 28 bytes"));
    REQUIRE_THROWS_AS(read_jsonl(path, {.max_depth = 0}), option_error);
    REQUIRE(contains(message(dir.write("empty", "")), "an empty file"));
    REQUIRE(contains(message(dir.write("bom", "\xef\xbb\xbf")), "an empty file"));
    REQUIRE(contains(message(dir / "none"), "none"));
    REQUIRE(contains(message(dir.path()), "a directory"));
}
