#pragma once
/// Lower case and accent stripping for the Latin letters of Western European word lists.
///
/// Covered: U+00C0..U+017F (Latin-1 Supplement and Latin Extended-A), U+00AA, U+00BA, U+1E9E, the ligatures
/// U+FB00..U+FB06, and the combining marks U+0300..U+036F, which are dropped. Everything else passes unchanged.
/// A letter becomes what NFKD leaves of it without combining marks: e with acute is e, the ij ligature is "ij". Letters
/// that NFKD does not decompose stay what they are: sharp s, ae, oe, o with stroke, eth, thorn, d, h, l and t with
/// stroke, dotless i, kra, eng. A filter on a..z rejects words with those, instead of inventing a spelling.
#include <string>
#include <string_view>

#include "rlgaf/data/utf8.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The simple lower case of Unicode: one code point to one. U+0130 (I with dot) is i, U+1E9E is U+00DF.
constexpr char32_t to_lower(char32_t c) noexcept {
    if (c >= U'A' && c <= U'Z') return c + 32;
    if (c < 0xc0) return c;
    if (c <= 0xde) return c == 0xd7 ? c : c + 32;
    if (c == 0x130) return U'i';
    if (c == 0x178) return 0xff;
    if (c == 0x1e9e) return 0xdf;
    const bool even_is_upper = (c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177);
    const bool odd_is_upper = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e);
    return (even_is_upper && c % 2 == 0) || (odd_is_upper && c % 2 == 1) ? c + 1 : c;
}

namespace detail {

/// Base letters of U+00C0..U+017F in that order; '.' = does not decompose to one ASCII letter.
inline constexpr std::string_view latin_bases =
    "AAAAAA.CEEEEIIII.NOOOOO..UUUUY.."
    "aaaaaa.ceeeeiiii.nooooo..uuuuy.y"
    "AaAaAaCcCcCcCcDd..EeEeEeEeEeGgGg"
    "GgGgHh..IiIiIiIiI...JjKk.LlLlLl."
    "...NnNnNn...OoOoOo..RrRrRrSsSsSs"
    "SsTtTt..UuUuUuUuUuUuWwYyYZzZzZzs";
static_assert(latin_bases.size() == 0x180 - 0xc0);

inline void append_without_accent(std::u32string& out, char32_t c) {
    constexpr std::u32string_view ligatures[] = {U"ff", U"fi", U"fl", U"ffi", U"ffl", U"st", U"st"};
    if (c >= 0x300 && c <= 0x36f) return;
    if (c >= 0xc0 && c < 0x180 && latin_bases[c - 0xc0] != '.')
        out.push_back(static_cast<unsigned char>(latin_bases[c - 0xc0]));
    else if (c >= 0xfb00 && c <= 0xfb06)
        out.append(ligatures[c - 0xfb00]);
    else if (c == 0xaa || c == 0xba)
        out.push_back(c == 0xaa ? U'a' : U'o');
    else if (c == 0x132 || c == 0x133)
        out.append(c == 0x132 ? U"IJ" : U"ij");
    else if (c == 0x13f || c == 0x140)
        out.append(c == 0x13f ? U"L\u00b7" : U"l\u00b7");
    else if (c == 0x149)
        out.append(U"\u02bcn");
    else
        out.push_back(c);
}

}  // namespace detail

inline std::u32string to_lower(std::u32string text) {
    for (char32_t& c : text) c = to_lower(c);
    return text;
}

inline std::u32string strip_accents(std::u32string_view text) {
    std::u32string out;
    out.reserve(text.size());
    for (const char32_t c : text) detail::append_without_accent(out, c);
    return out;
}

inline std::u32string strip_accents_lower(std::u32string_view text) {
    return strip_accents(to_lower(std::u32string(text)));
}

/// The same on UTF-8. Errors: numeric_error with the offset if `utf8` is ill formed.
inline std::string strip_accents_lower(std::string_view utf8) {
    const decoded_utf8 decoded = decode_utf8(utf8);
    if (!decoded.ok()) [[unlikely]]
        fail(error_kind::numeric, "strip_accents_lower", "utf8", "UTF-8",
             "an ill-formed sequence at byte " + std::to_string(decoded.error_at));
    return encode_utf8(strip_accents_lower(std::u32string_view(decoded.code_points)));
}

}  // namespace rlgaf::inline RLGAF_ABI
