#pragma once
/// Strict UTF-8: overlong forms, surrogates, numbers above U+10FFFF and truncated sequences are errors.
#include <cstddef>
#include <string>
#include <string_view>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// 'text', for messages.
RLGAF_COLD inline std::string in_quotes(std::string_view text) {
    return std::string(1, '\'').append(text).append(1, '\'');
}

inline constexpr char32_t bad_code_point = 0xffffffffu;

/// The code point at bytes[at], and moves `at` behind it; `bad_code_point`, and `at` stays, where none is well formed.
constexpr char32_t next_code_point(std::string_view bytes, std::size_t& at) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const unsigned first = byte(at);
    if (first < 0x80) {
        ++at;
        return first;
    }
    const std::size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                               : first >= 0xe0 && first <= 0xef ? 3
                               : first >= 0xf0 && first <= 0xf4 ? 4
                                                                : 0;  // a continuation byte, C0, C1 or F5..FF
    if (length == 0 || bytes.size() - at < length) return bad_code_point;
    char32_t code = first & (0x7fu >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(at + i) & 0xc0u) != 0x80u) return bad_code_point;
        code = (code << 6) | (byte(at + i) & 0x3fu);
    }
    const char32_t smallest = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
    if (code < smallest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return bad_code_point;
    at += length;
    return code;
}

}  // namespace detail

/// What `decode_utf8` found: the code points before the first error, and where in the bytes that is.
struct decoded_utf8 {
    static constexpr std::size_t no_error = static_cast<std::size_t>(-1);

    std::u32string code_points;
    std::size_t error_at = no_error;  ///< offset of the first byte of the first ill-formed sequence
    bool ok() const noexcept { return error_at == no_error; }
};

/// Never fails: look at `ok()`.
inline decoded_utf8 decode_utf8(std::string_view bytes) {
    decoded_utf8 result;
    result.code_points.reserve(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) {
        const char32_t code = detail::next_code_point(bytes, at);
        if (code == detail::bad_code_point) {
            result.error_at = at;
            break;
        }
        result.code_points.push_back(code);
    }
    return result;
}

/// Offset of the first ill-formed sequence, or `decoded_utf8::no_error`.
constexpr std::size_t first_utf8_error(std::string_view bytes) noexcept {
    for (std::size_t at = 0; at < bytes.size();)
        if (detail::next_code_point(bytes, at) == detail::bad_code_point) return at;
    return decoded_utf8::no_error;
}
constexpr bool is_utf8(std::string_view bytes) noexcept { return first_utf8_error(bytes) == decoded_utf8::no_error; }

/// Errors: numeric_error for a surrogate or a number above U+10FFFF.
inline void append_utf8(std::string& out, char32_t code) {
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) [[unlikely]]
        fail(error_kind::numeric, "append_utf8", "code", "a Unicode scalar value",
             std::to_string(static_cast<unsigned long>(code)));
    const auto push = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
    if (code < 0x80) {
        push(code);
    } else if (code < 0x800) {
        push(0xc0 | (code >> 6));
        push(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        push(0xe0 | (code >> 12));
        push(0x80 | ((code >> 6) & 0x3f));
        push(0x80 | (code & 0x3f));
    } else {
        push(0xf0 | (code >> 18));
        push(0x80 | ((code >> 12) & 0x3f));
        push(0x80 | ((code >> 6) & 0x3f));
        push(0x80 | (code & 0x3f));
    }
}

/// Errors: numeric_error as for `append_utf8`.
inline std::string encode_utf8(std::u32string_view code_points) {
    std::string bytes;
    bytes.reserve(code_points.size());
    for (const char32_t code : code_points) append_utf8(bytes, code);
    return bytes;
}

}  // namespace rlgaf::inline RLGAF_ABI
