#pragma once
/// Aligned text tables for a terminal or a Markdown page.
#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rlgaf/io/text_width.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class table_style {
    plain,    ///< columns two spaces apart, a rule below the headers
    markdown  ///< | columns | with a rule that says how they are aligned; a | in a cell is escaped
};

namespace detail {

/// "12", "-0.5", "3.1 ± 0.2", "41%", "1e-05", "2 / 3"; also "", "-", "nan", "inf", "n/a", which no column objects to.
inline bool looks_numeric(std::string_view cell) {
    for (const std::string_view word : {"", "-", "–", "nan", "-nan", "inf", "-inf", "n/a"})
        if (cell == word) return true;
    bool digit = false;
    for (std::size_t at = 0; at < cell.size();) {
        const char32_t c = next_code_point(cell, at);
        if (c >= U'0' && c <= U'9')
            digit = true;
        else if (std::u32string_view(U"+-.,eE%()[] /±×−").find(c) == std::u32string_view::npos)
            return false;
    }
    return digit;
}

}  // namespace detail

/// Headers, then rows of as many cells. A column in which every cell is a number is aligned to the right.
class table {
public:
    explicit table(std::vector<std::string> headers, table_style style = table_style::plain)
        : headers_(std::move(headers)), style_(style) {}

    /// Errors: shape_error unless there is one cell a header.
    table& row(std::vector<std::string> cells) {
        detail::check_size(cells.size(), headers_.size(), "table::row", "cells");
        rows_.push_back(std::move(cells));
        return *this;
    }

    /// Lines that end in a newline; no spaces at their ends.
    std::string text() const {
        const std::size_t columns = headers_.size();
        std::vector<std::size_t> width(columns);
        std::vector<bool> right(columns, !rows_.empty());
        std::vector<std::vector<std::string>> lines{headers_};
        lines.insert(lines.end(), rows_.begin(), rows_.end());
        for (std::size_t r = 0; r < lines.size(); ++r)
            for (std::size_t c = 0; c < columns; ++c) {
                std::string& cell = lines[r][c];
                if (r > 0 && !detail::looks_numeric(cell)) right[c] = false;
                std::replace(cell.begin(), cell.end(), '\n', ' ');
                if (style_ == table_style::markdown)
                    for (std::size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2)
                        cell.insert(at, 1, '\\');
                width[c] =
                    std::max({width[c], display_width(cell), std::size_t{style_ == table_style::plain ? 1u : 3u}});
            }
        std::string out;
        for (std::size_t r = 0; r < lines.size(); ++r) {
            append_line(out, width, [&](std::size_t c) {
                const std::string pad(width[c] - display_width(lines[r][c]), ' ');
                return right[c] ? pad + lines[r][c] : lines[r][c] + pad;
            });
            if (r > 0) continue;
            append_line(out, width, [&](std::size_t c) {
                std::string rule(width[c], '-');
                if (style_ == table_style::markdown && right[c]) rule.back() = ':';
                return rule;
            });
        }
        return out;
    }

private:
    template <class Cell>
    void append_line(std::string& out, std::span<const std::size_t> width, Cell cell) const {
        const bool plain = style_ == table_style::plain;
        std::string line = plain ? "" : "| ";
        for (std::size_t c = 0; c < width.size(); ++c) line += (c == 0 ? "" : plain ? "  " : " | ") + cell(c);
        if (!plain) line += " |";
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    }

    std::vector<std::string> headers_;
    std::vector<std::vector<std::string>> rows_;
    table_style style_;
};

}  // namespace rlgaf::inline RLGAF_ABI
