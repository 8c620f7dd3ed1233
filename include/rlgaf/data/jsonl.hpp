#pragma once
/// Demonstrations in JSON Lines: an object a line, with `completion` (or `text`) and, where there is one, `prompt`.
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rlgaf/data/utf8.hpp"
#include "rlgaf/io/read_file.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct prompt_completion {
    std::string prompt;  ///< "" where the line has none
    std::string completion;
};

struct jsonl_options {
    std::size_t max_line_bytes = std::size_t{16} << 20;  ///< longest line
    std::size_t max_depth = 32;                          ///< deepest nesting of fields that are passed over, >= 1
    std::size_t max_file_bytes = std::size_t{1} << 32;   ///< longest file
};

namespace detail {

/// One line as a stream of events. Other fields may hold anything, but no object has a key twice.
class jsonl_line_parser : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit jsonl_line_parser(std::size_t max_depth) : max_depth_(max_depth) {}

    /// False: `expected` and `got` say why.
    bool parse(std::string_view line) {
        if (const std::size_t nul = line.find('\0'); nul != line.npos)  // would end the text for the parser
            return refuse("JSON", "a NUL at byte " + std::to_string(nul + 1) + " of the line");
        if (line.find_first_not_of(" \t") == line.npos) return refuse("an object", "an empty line");
        if (!nlohmann::json::sax_parse(line.begin(), line.end(), this)) return false;
        if (completion_ && text_) return refuse("'completion' or 'text'", "both");
        if (!completion_ && !text_) return refuse("a field 'completion' or 'text'", "none");
        return true;
    }
    prompt_completion take() {
        return {prompt_ ? *std::move(prompt_) : std::string(),
                completion_ ? *std::move(completion_) : *std::move(text_)};
    }
    std::string expected, got;

    bool null() override { return value("null"); }
    bool boolean(bool) override { return value("true or false"); }
    bool number_integer(number_integer_t) override { return value("a number"); }
    bool number_unsigned(number_unsigned_t) override { return value("a number"); }
    bool number_float(number_float_t, const string_t&) override { return value("a number"); }
    bool binary(binary_t&) override { return value("bytes"); }
    bool string(string_t& text) override {
        if (std::optional<std::string>* field = wanted()) {
            *field = std::move(text);
            return true;
        }
        return value("a string");
    }
    bool start_object(std::size_t) override { return open("an object", true); }
    bool start_array(std::size_t) override { return open("an array", false); }
    bool end_object() override {
        keys_.pop_back();
        return true;
    }
    bool end_array() override {
        keys_.pop_back();
        return true;
    }
    bool key(string_t& name) override {
        if (!keys_.back().insert(name).second)
            return refuse("every key once", in_quotes(name.substr(0, 80)) + " twice");
        if (keys_.size() == 1) key_ = name;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
        return refuse("JSON", "a syntax error at byte " + std::to_string(position) + " of the line");
    }

private:
    bool refuse(std::string what, std::string instead) {
        expected = std::move(what);
        got = std::move(instead);
        return false;
    }
    /// Where the value of a field that we read belongs, else nullptr.
    std::optional<std::string>* wanted() {
        if (keys_.size() != 1) return nullptr;
        return key_ == "prompt" ? &prompt_ : key_ == "completion" ? &completion_ : key_ == "text" ? &text_ : nullptr;
    }
    bool value(const char* what) {
        if (keys_.empty()) return refuse("an object", what);
        return wanted() == nullptr || refuse("a string for '" + key_ + "'", what);
    }
    bool open(const char* what, bool object) {
        if (!(keys_.empty() && object) && !value(what)) return false;
        if (keys_.size() == max_depth_) return refuse("at most " + std::to_string(max_depth_) + " levels", "more");
        keys_.emplace_back();
        return true;
    }

    std::size_t max_depth_;
    std::vector<std::set<std::string>> keys_;  // of every object that is open; an array has none
    std::string key_;
    std::optional<std::string> prompt_, completion_, text_;
};

}  // namespace detail

/// All lines, or an error: nothing is skipped, an empty line neither. CRLF and a leading byte order mark are tolerated,
/// fields of other names are passed over, the last line needs no newline.
///
/// Errors: file_error with path:line for what is not UTF-8, no object in JSON, too long or too deep, for a key that
/// comes twice, for `prompt`, `completion` or `text` that is no string, and for lines with neither or both of the last
/// two; with path for a missing, empty or too long file. option_error for a depth of 0.
inline std::vector<prompt_completion> read_jsonl(const std::filesystem::path& path, const jsonl_options& options = {}) {
    constexpr const char* function = "read_jsonl";
    if (options.max_depth < 1) fail(error_kind::option, "jsonl_options", ".max_depth", "at least 1", "0");
    const std::string bytes = read_file(path, options.max_file_bytes, function);
    if (bytes.empty()) fail(error_kind::file, function, path.string(), "an object a line", "an empty file");
    std::vector<prompt_completion> result;
    std::size_t number = 0;
    for (std::size_t at = bytes.starts_with("\xef\xbb\xbf") ? 3 : 0; at < bytes.size();) {
        const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
        std::string_view line = std::string_view(bytes).substr(at, end - at);
        if (line.ends_with('\r')) line.remove_suffix(1);
        const std::string place = path.string() + ":" + std::to_string(++number);
        if (line.size() > options.max_line_bytes)
            fail(error_kind::file, function, place, "at most " + std::to_string(options.max_line_bytes) + " bytes",
                 std::to_string(line.size()));
        if (const std::size_t bad = first_utf8_error(line); bad != decoded_utf8::no_error)
            fail(error_kind::file, function, place, "UTF-8",
                 "an ill-formed sequence at byte " + std::to_string(bad + 1) + " of the line");
        detail::jsonl_line_parser parser(options.max_depth);
        if (!parser.parse(line)) fail(error_kind::file, function, place, parser.expected, parser.got);
        result.push_back(parser.take());
        at = end + 1;
    }
    if (result.empty()) fail(error_kind::file, function, path.string(), "an object a line", "an empty file");
    return result;
}

}  // namespace rlgaf::inline RLGAF_ABI
