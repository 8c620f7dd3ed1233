#pragma once
// The words that align_words learns from: a base list of five languages, and demonstrations of one of them.
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <unordered_set>
#include <vector>

#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/data/invented_words.hpp"
#include "rlgaf/data/tokenizer.hpp"
#include "rlgaf/data/word_list.hpp"

namespace align_words {

struct word_options {
    std::vector<std::string> base;   // files of the user's own; empty: the dictionaries
    std::string demos, lexicon;      // likewise
    std::string target = "italian";  // which dictionary the demonstrations come from
    std::size_t words_per_language = 40000, demonstrations = 500, held_out = 2000;
    bool skip_long = false;  // words over the limit in `base` and `lexicon` are skipped, not refused
};

struct word_data {
    std::vector<std::string> base, demos, held_out;
    std::unordered_set<std::string> demo_set;
    std::unordered_set<std::string> lexicon;  // all words of the target but the demonstrations
    std::string description;
};

inline const std::vector<std::pair<std::string, std::string>>& dictionaries() {
    static const std::vector<std::pair<std::string, std::string>> files = {
        {"english", "/usr/share/dict/american-english"}, {"french", "/usr/share/dict/french"},
        {"german", "/usr/share/dict/ngerman"},           {"italian", "/usr/share/dict/italian"},
        {"spanish", "/usr/share/dict/spanish"},
    };
    return files;
}

// Reads and splits everything, or refuses with file and line; nothing is trained before it returns.
inline word_data load_words(const word_options& options, std::uint64_t seed) {
    const auto refuse = [](const std::string& what, const std::string& expected, const std::string& actual) {
        rlgaf::fail(rlgaf::error_kind::file, "align_words", what, expected, actual);
    };
    const rlgaf::word_list_options own{.on_too_long = options.skip_long ? rlgaf::word_rejection::skip
                                                                        : rlgaf::word_rejection::refuse};
    std::vector<std::vector<std::string>> language;  // one list a language
    std::vector<std::string> target;
    word_data data;
    if (!options.base.empty()) {
        std::size_t skipped = 0;  // words that are too short or have other letters, and where asked for too long ones
        for (const std::string& file : options.base) {
            rlgaf::word_list list = rlgaf::read_word_list(file, own);
            skipped += list.too_short + list.too_long + list.outside_alphabet;
            language.push_back(std::move(list.words));
        }
        data.description = fmt::format("{} base file(s), {} words in them skipped", options.base.size(), skipped);
    } else {
        bool installed = true;
        std::size_t which = dictionaries().size();
        for (std::size_t i = 0; i < dictionaries().size(); ++i) {
            installed = installed && std::filesystem::exists(dictionaries()[i].second);
            if (dictionaries()[i].first == options.target) which = i;
        }
        if (which == dictionaries().size())
            refuse("--target", "english, french, german, italian or spanish", options.target);
        for (std::size_t i = 0; i < dictionaries().size(); ++i)
            language.push_back(installed ? rlgaf::read_word_list(dictionaries()[i].second).words
                                         : rlgaf::invented_words(i, 100000));
        if (options.demos.empty()) target = language[which];
        data.description = installed ? "the word lists of five languages"
                                     : "five invented languages (no word lists in /usr/share/dict)";
    }
    const rlgaf::word_list_options strict{.on_reject = rlgaf::word_rejection::refuse};
    if (!options.demos.empty()) target = rlgaf::read_word_list(options.demos, strict).words;
    if (target.empty()) refuse("--demos", "a file of demonstrations with --base", "none");
    rlgaf::shuffle(std::span(target), {seed, 1});

    // Of a file of demonstrations, a fifth at most is held out; of a dictionary, what the options say.
    const std::size_t wanted = options.demos.empty() ? options.demonstrations + options.held_out : 100;
    if (target.size() < wanted)
        refuse(options.demos.empty() ? options.target : options.demos, fmt::format("at least {} words", wanted),
               std::to_string(target.size()));
    const std::size_t held = options.demos.empty() ? options.held_out : std::min(options.held_out, target.size() / 5);
    const std::size_t shown = options.demos.empty() ? options.demonstrations : target.size() - held;
    data.demos.assign(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(shown));
    data.held_out.assign(target.begin() + static_cast<std::ptrdiff_t>(shown),
                         target.begin() + static_cast<std::ptrdiff_t>(shown + held));
    data.demo_set.insert(data.demos.begin(), data.demos.end());

    if (!options.lexicon.empty()) target = rlgaf::read_word_list(options.lexicon, own).words;
    for (const std::string& word : target)
        if (!data.demo_set.contains(word)) data.lexicon.insert(word);
    if (data.lexicon.empty()) refuse(options.lexicon, "words beside the demonstrations", "none");

    const std::unordered_set<std::string> kept_out(data.held_out.begin(), data.held_out.end());
    for (std::size_t i = 0; i < language.size(); ++i) {
        rlgaf::shuffle(std::span(language[i]), {seed, 2}, i);
        std::size_t taken = 0;
        for (const std::string& word : language[i]) {
            if (taken == options.words_per_language) break;
            if (data.demo_set.contains(word) || kept_out.contains(word)) continue;
            data.base.push_back(word);
            ++taken;
        }
    }
    if (data.base.size() < 1000) refuse("--base", "at least 1000 words", std::to_string(data.base.size()));
    data.description += fmt::format(": {} base words, {} demonstrations, {} held out, {} in the lexicon",
                                    data.base.size(), data.demos.size(), data.held_out.size(), data.lexicon.size());
    return data;
}

// Words as rows: letters, then the end token.
inline rlgaf::token_batch<float> as_batch(const std::vector<std::string>& words, const rlgaf::char_tokenizer& letters) {
    rlgaf::token_batch<float> batch;
    for (const std::string& word : words) {
        std::vector<std::int32_t> row = letters.encode(word);
        row.push_back(letters.eos());
        batch.add(row, rlgaf::row_end::terminated);
    }
    return batch;
}

}  // namespace align_words
