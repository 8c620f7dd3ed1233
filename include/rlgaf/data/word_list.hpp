#pragma once
/// Word lists: one word a line, normalised, filtered and without repetitions.
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "rlgaf/data/strip_accents.hpp"
#include "rlgaf/io/read_file.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What happens to a word that does not pass the filter.
enum class word_rejection {
    skip,   ///< leave it out and count it: dictionaries
    refuse  ///< an error with its line: files that a user wrote for us
};

struct word_list_options {
    bool lower = true;                                    ///< lower case first
    bool strip_accents = true;                            ///< then drop accents, see data/strip_accents.hpp
    std::string alphabet = "abcdefghijklmnopqrstuvwxyz";  ///< UTF-8; a word with another letter is rejected
    std::size_t min_length = 3;                           ///< letters after normalisation, >= 1
    std::size_t max_length = 14;                          ///< letters after normalisation, >= min_length
    word_rejection on_reject = word_rejection::skip;      ///< a repeated word is dropped in either case
    word_rejection on_too_long = word_rejection::skip;  ///< of words above max_length; refused too if on_reject refuses

    /// Errors: option_error.
    void check() const {
        if (min_length < 1)
            fail(error_kind::option, "word_list_options", ".min_length", "at least 1", std::to_string(min_length));
        if (max_length < min_length)
            fail(error_kind::option, "word_list_options", ".max_length",
                 "at least .min_length = " + std::to_string(min_length), std::to_string(max_length));
        if (alphabet.empty() || !is_utf8(alphabet))
            fail(error_kind::option, "word_list_options", ".alphabet", "letters in UTF-8", detail::in_quotes(alphabet));
    }
};

/// Unique words in the order of the file, in UTF-8. Every line is counted once: words.size() + the other counts =
/// lines.
struct word_list {
    std::vector<std::string> words;
    std::size_t lines = 0;             ///< lines, or elements of the vector
    std::size_t blank = 0;             ///< nothing but spaces and tabs
    std::size_t too_short = 0;         ///< below min_length
    std::size_t too_long = 0;          ///< above max_length
    std::size_t outside_alphabet = 0;  ///< with a character that is not in the alphabet
    std::size_t repeated = 0;          ///< equal to an earlier word after normalisation
};

namespace detail {

class word_filter {
public:
    word_filter(const word_list_options& options, const char* function) : options_(options), function_(function) {
        options_.check();
        for (const char32_t c : decode_utf8(options_.alphabet).code_points) alphabet_.insert(c);
    }

    /// `place()` names the line or element. Errors: `kind` if `raw` is not UTF-8, or rejected where that is refused.
    template <class Place>
    void add(std::string_view raw, error_kind kind, Place place, std::size_t offset) {
        ++result_.lines;
        while (!raw.empty() && (raw.front() == ' ' || raw.front() == '\t')) raw.remove_prefix(1), ++offset;
        while (!raw.empty() && (raw.back() == ' ' || raw.back() == '\t' || raw.back() == '\r')) raw.remove_suffix(1);
        if (raw.empty()) {
            ++result_.blank;
            return;
        }
        decoded_utf8 decoded = decode_utf8(raw);
        if (!decoded.ok())
            fail(kind, function_, place(), "UTF-8",
                 "an ill-formed sequence at byte " + std::to_string(offset + decoded.error_at));
        std::u32string& word = decoded.code_points;
        if (options_.lower) word = to_lower(std::move(word));
        if (options_.strip_accents) word = rlgaf::strip_accents(word);
        std::size_t* count = nullptr;
        for (const char32_t c : word)
            if (!alphabet_.contains(c)) count = &result_.outside_alphabet;
        if (word.size() > options_.max_length) count = &result_.too_long;
        if (word.size() < options_.min_length) count = &result_.too_short;
        if (count != nullptr) {
            if (options_.on_reject == word_rejection::refuse ||
                (count == &result_.too_long && options_.on_too_long == word_rejection::refuse))
                fail(kind, function_, place(),
                     "a word of " + std::to_string(options_.min_length) + " to " + std::to_string(options_.max_length) +
                         " letters out of '" + options_.alphabet + "'",
                     std::to_string(word.size()) + " letters, '" + encode_utf8(word.substr(0, 40)) + "'");
            ++*count;
            return;
        }
        std::string text = encode_utf8(word);
        if (seen_.insert(text).second)
            result_.words.push_back(std::move(text));
        else
            ++result_.repeated;
    }

    word_list take() { return std::move(result_); }

private:
    word_list_options options_;
    const char* function_;
    std::unordered_set<char32_t> alphabet_;
    std::unordered_set<std::string> seen_;
    word_list result_;
};

}  // namespace detail

/// Normalises, filters and makes unique words in memory.
///
/// Errors: option_error; numeric_error "words[3]: ..." for ill-formed UTF-8, or a rejected word where that is refused.
inline word_list keep_words(std::span<const std::string> words, const word_list_options& options = {}) {
    detail::word_filter filter(options, "keep_words");
    for (std::size_t i = 0; i < words.size(); ++i)
        filter.add(
            words[i], error_kind::numeric, [&] { return "words[" + std::to_string(i) + "]"; }, 0);
    return filter.take();
}

/// Reads one word a line. CRLF, a leading byte order mark, blank lines and spaces around a word are tolerated.
///
/// Errors: option_error; file_error with path, or path:line and byte in the file, if it is missing, a directory, empty,
/// not UTF-8, has a rejected word where that is refused, or no word is left.
inline word_list read_word_list(const std::filesystem::path& path, const word_list_options& options = {}) {
    detail::word_filter filter(options, "read_word_list");
    const std::string bytes = read_file(path, std::size_t{1} << 30, "read_word_list");
    if (bytes.empty()) fail(error_kind::file, "read_word_list", path.string(), "one word a line", "an empty file");
    std::size_t line = 1;
    for (std::size_t at = bytes.starts_with("\xef\xbb\xbf") ? 3 : 0; at < bytes.size(); ++line) {
        const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
        filter.add(
            std::string_view(bytes).substr(at, end - at), error_kind::file,
            [&] { return path.string() + ":" + std::to_string(line); }, at);
        at = end + 1;
    }
    word_list result = filter.take();
    if (result.words.empty())
        fail(error_kind::file, "read_word_list", path.string(), "at least one word that passes the filter",
             "none in " + std::to_string(result.lines) + " lines");
    return result;
}

}  // namespace rlgaf::inline RLGAF_ABI
