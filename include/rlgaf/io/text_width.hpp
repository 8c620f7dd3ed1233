#pragma once
/// Columns that a text takes in a terminal.
#include <cstddef>
#include <string>
#include <string_view>

#include "rlgaf/data/utf8.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {
/// The bytes of `text` that fit into `columns`; `used` becomes what they take. Bytes that are not UTF-8 count one each.
constexpr std::size_t bytes_within(std::string_view text, std::size_t columns, std::size_t& used) noexcept {
    used = 0;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t next = at;
        const char32_t c = next_code_point(text, next);
        if (c == bad_code_point) next = at + 1;
        const bool combining = c >= 0x300 && c <= 0x36f;
        if (!combining && used == columns) return at;
        used += combining ? 0 : 1;
        at = next;
    }
    return text.size();
}
}  // namespace detail

/// One column a code point, none for a combining mark: right for Latin, Greek and Cyrillic, not for wide scripts.
constexpr std::size_t display_width(std::string_view text) noexcept {
    std::size_t used = 0;
    detail::bytes_within(text, static_cast<std::size_t>(-1), used);
    return used;
}

/// The beginning of `text` that takes at most `columns`; never cuts a character.
constexpr std::string_view truncate_to_width(std::string_view text, std::size_t columns) noexcept {
    std::size_t used = 0;
    return text.substr(0, detail::bytes_within(text, columns, used));
}

}  // namespace rlgaf::inline RLGAF_ABI
