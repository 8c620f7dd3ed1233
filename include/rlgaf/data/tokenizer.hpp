#pragma once
/// Tokenisers for models that read bytes or letters. Ids: symbols first, then the named specials, end of sequence last.
///
/// Text never encodes to a special, even where it spells its name: specials are added by whoever builds the sequence.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rlgaf/data/utf8.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// The ids behind `first`: one for every name, then end of sequence.
class special_tokens {
public:
    special_tokens(std::size_t first, std::vector<std::string> names, const char* owner)
        : first_(first), names_(std::move(names)), owner_(owner) {
        for (std::size_t i = 0; i < names_.size(); ++i)
            if (names_[i].empty() || std::find(names_.begin(), names_.begin() + static_cast<std::ptrdiff_t>(i),
                                               names_[i]) != names_.begin() + static_cast<std::ptrdiff_t>(i))
                fail(error_kind::option, owner_, "specials", "different names that are not empty",
                     in_quotes(names_[i]));
    }
    std::int32_t id(std::string_view name) const {
        const auto found = std::find(names_.begin(), names_.end(), name);
        if (found == names_.end()) [[unlikely]]
            fail(error_kind::option, owner_, "special", "one of the specials given to the constructor",
                 in_quotes(name));
        return static_cast<std::int32_t>(first_ + static_cast<std::size_t>(found - names_.begin()));
    }
    std::int32_t eos() const noexcept { return static_cast<std::int32_t>(first_ + names_.size()); }

    /// Calls `symbol(id)` for the symbols before the first end of sequence; specials are passed over.
    template <class Symbol>
    void decode(std::span<const std::int32_t> ids, Symbol symbol) const {
        for (std::size_t i = 0; i < ids.size() && ids[i] != eos(); ++i) {
            if (ids[i] < 0 || ids[i] > eos()) [[unlikely]]
                fail(error_kind::numeric, owner_, "ids[" + std::to_string(i) + "]", "0.." + std::to_string(eos()),
                     std::to_string(ids[i]));
            if (static_cast<std::size_t>(ids[i]) < first_) symbol(ids[i]);
        }
    }

private:
    std::size_t first_;
    std::vector<std::string> names_;
    const char* owner_;
};

}  // namespace detail

/// One token a byte, 0..255; any text, valid UTF-8 or not, survives encode and decode.
class byte_tokenizer {
public:
    /// `specials` are names such as "bos"; end of sequence is always there. Errors: option_error for a repeated name.
    explicit byte_tokenizer(std::vector<std::string> specials = {})
        : specials_(256, std::move(specials), "byte_tokenizer") {}

    std::size_t vocabulary_size() const noexcept { return static_cast<std::size_t>(eos()) + 1; }
    std::int32_t eos() const noexcept { return specials_.eos(); }
    /// Errors: option_error for a name that the constructor was not given.
    std::int32_t special(std::string_view name) const { return specials_.id(name); }

    /// Does not append end of sequence.
    std::vector<std::int32_t> encode(std::string_view text) const {
        std::vector<std::int32_t> ids(text.size());
        for (std::size_t i = 0; i < text.size(); ++i) ids[i] = static_cast<unsigned char>(text[i]);
        return ids;
    }
    /// A demonstration: the text and end of sequence.
    std::vector<std::int32_t> encode_row(std::string_view text) const {
        std::vector<std::int32_t> ids = encode(text);
        ids.push_back(eos());
        return ids;
    }
    /// Stops at end of sequence. Errors: numeric_error "ids[4]: ..." for an id outside the vocabulary.
    std::string decode(std::span<const std::int32_t> ids) const {
        std::string text;
        specials_.decode(ids, [&](std::int32_t id) { text.push_back(static_cast<char>(id)); });
        return text;
    }

private:
    detail::special_tokens specials_;
};

/// What `char_tokenizer::encode` does with a character outside the alphabet.
enum class unknown_character {
    refuse,  ///< numeric_error with character and position
    skip,    ///< leave it out
    replace  ///< the special "unknown", which the tokeniser then adds behind the given specials
};

/// One token a code point, in the order of the alphabet.
class char_tokenizer {
public:
    /// `alphabet` is UTF-8. Errors: option_error if it is empty, ill formed or repeats a character.
    explicit char_tokenizer(std::string_view alphabet, unknown_character unknown = unknown_character::refuse,
                            std::vector<std::string> specials = {})
        : char_tokenizer(checked_alphabet(alphabet), unknown, std::move(specials)) {}

    /// The alphabet is what occurs in `texts`, sorted by code point. Errors: option_error as above.
    static char_tokenizer from_texts(std::span<const std::string> texts,
                                     unknown_character unknown = unknown_character::refuse,
                                     std::vector<std::string> specials = {}) {
        std::u32string seen;
        for (const std::string& text : texts) {
            seen += checked_text(text, error_kind::option);
            std::sort(seen.begin(), seen.end());
            seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
        }
        return char_tokenizer(std::move(seen), unknown, std::move(specials));
    }

    std::size_t vocabulary_size() const noexcept { return static_cast<std::size_t>(eos()) + 1; }
    std::int32_t eos() const noexcept { return specials_.eos(); }
    /// Errors: option_error for a name that is not there.
    std::int32_t special(std::string_view name) const { return specials_.id(name); }
    /// The characters of ids 0, 1, ... in UTF-8.
    std::string alphabet() const { return encode_utf8(alphabet_); }

    /// Does not append end of sequence. Errors: numeric_error with the byte for ill-formed UTF-8, and for an unknown
    /// character where that is refused.
    std::vector<std::int32_t> encode(std::string_view text) const {
        std::vector<std::int32_t> ids;
        ids.reserve(text.size());
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t start = at;
            const char32_t c = detail::next_code_point(text, at);
            if (c == detail::bad_code_point) [[unlikely]]
                fail(error_kind::numeric, "char_tokenizer", "text", "UTF-8",
                     "an ill-formed sequence at byte " + std::to_string(start));
            if (const auto found = id_.find(c); found != id_.end())
                ids.push_back(found->second);
            else if (unknown_ == unknown_character::replace)
                ids.push_back(special("unknown"));
            else if (unknown_ == unknown_character::refuse) [[unlikely]]
                fail(error_kind::numeric, "char_tokenizer", "text", "characters of the alphabet",
                     detail::in_quotes(text.substr(start, at - start)) + " at byte " + std::to_string(start));
        }
        return ids;
    }
    /// A demonstration: the text and end of sequence.
    std::vector<std::int32_t> encode_row(std::string_view text) const {
        std::vector<std::int32_t> ids = encode(text);
        ids.push_back(eos());
        return ids;
    }
    /// Stops at end of sequence. Errors: numeric_error "ids[4]: ..." for an id outside the vocabulary.
    std::string decode(std::span<const std::int32_t> ids) const {
        std::string text;
        specials_.decode(ids, [&](std::int32_t id) { append_utf8(text, alphabet_[static_cast<std::size_t>(id)]); });
        return text;
    }

private:
    char_tokenizer(std::u32string alphabet, unknown_character unknown, std::vector<std::string> specials)
        : alphabet_(std::move(alphabet)),
          unknown_(unknown),
          specials_(alphabet_.size(), with_unknown(std::move(specials), unknown), "char_tokenizer") {
        if (alphabet_.empty()) fail(error_kind::option, "char_tokenizer", "alphabet", "at least one character", "none");
        for (const char32_t c : alphabet_)
            if (!id_.emplace(c, static_cast<std::int32_t>(id_.size())).second)
                fail(error_kind::option, "char_tokenizer", "alphabet", "every character once",
                     detail::in_quotes(encode_utf8({&c, 1})) + " again");
    }
    static std::u32string checked_text(std::string_view text, error_kind kind) {
        decoded_utf8 decoded = decode_utf8(text);
        if (!decoded.ok())
            fail(kind, "char_tokenizer", "alphabet", "UTF-8",
                 "an ill-formed sequence at byte " + std::to_string(decoded.error_at));
        return std::move(decoded.code_points);
    }
    static std::u32string checked_alphabet(std::string_view text) { return checked_text(text, error_kind::option); }
    static std::vector<std::string> with_unknown(std::vector<std::string> specials, unknown_character unknown) {
        if (unknown == unknown_character::replace) specials.emplace_back("unknown");
        return specials;
    }

    std::u32string alphabet_;
    unknown_character unknown_;
    detail::special_tokens specials_;
    std::unordered_map<char32_t, std::int32_t> id_;
};

}  // namespace rlgaf::inline RLGAF_ABI
