#pragma once
/// Elements of an SVG file.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rlgaf/io/text_width.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

inline std::string svg_escape(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const char32_t c = next_code_point(text, at);
        if (c == bad_code_point) ++at;
        if (c == U'&')
            out += "&amp;";
        else if (c == U'<')
            out += "&lt;";
        else if (c == U'>')
            out += "&gt;";
        else if (c == U'"')
            out += "&quot;";
        else if (c < 0x20 || c == 0xfffe || c == 0xffff)
            out += ' ';  // XML has no such characters
        else
            append_utf8(out, c == bad_code_point ? U'\ufffd' : c);
    }
    return out;
}

/// An estimate, on the safe side for usual sans-serif fonts.
inline double text_pixels(std::string_view text, double size) {
    return 0.6 * size * static_cast<double>(display_width(text));
}

/// At most `pixels` wide, with an ellipsis where it was longer.
inline std::string shortened(const std::string& text, double size, double pixels) {
    if (text_pixels(text, size) <= pixels) return text;
    const double columns = std::max(1.0, pixels / (0.6 * size) - 1);
    return std::string(truncate_to_width(text, static_cast<std::size_t>(columns))) + "…";
}

/// Lines of at most `pixels`, broken at spaces and newlines.
inline std::vector<std::string> wrapped(std::string_view text, double size, double pixels) {
    std::vector<std::string> lines(1);
    std::string word;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        const char c = i < text.size() ? text[i] : ' ';
        if (c != ' ' && c != '\n') {
            word += c;
            continue;
        }
        std::string longer = lines.back().empty() ? word : lines.back() + " " + word;
        if (!lines.back().empty() && text_pixels(longer, size) > pixels)
            lines.push_back(word);
        else
            lines.back() = std::move(longer);
        word.clear();
        if (c == '\n') lines.emplace_back();
    }
    return lines;
}

/// Collects elements; coordinates are pixels, with two decimals.
class svg {
public:
    void raw(std::string_view element) { body_.append(element).push_back('\n'); }
    void line(double x1, double y1, double x2, double y2, std::string_view attributes) {
        raw(fmt::format(R"(<line x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}" {}/>)", x1, y1, x2, y2, attributes));
    }
    /// `anchor` is start, middle or end.
    void text(double x, double y, std::string_view anchor, std::string_view attributes, std::string_view content) {
        raw(fmt::format(R"(<text x="{:.2f}" y="{:.2f}" text-anchor="{}" {}>{}</text>)", x, y, anchor, attributes,
                        svg_escape(content)));
    }
    /// Circle, square, triangle, diamond, downward triangle; of about equal area.
    void marker(std::size_t shape, double x, double y, double radius, std::string_view attributes) {
        const auto polygon = [&](std::initializer_list<std::pair<double, double>> corners) {
            std::string points;
            for (const auto& [dx, dy] : corners)
                points += fmt::format("{}{:.2f},{:.2f}", points.empty() ? "" : " ", x + dx * radius, y + dy * radius);
            raw(fmt::format(R"(<polygon points="{}" {}/>)", points, attributes));
        };
        switch (shape % 5) {
            case 0:
                return raw(fmt::format(R"(<circle cx="{:.2f}" cy="{:.2f}" r="{:.2f}" {}/>)", x, y, radius, attributes));
            case 1:
                return polygon({{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}});
            case 2:
                return polygon({{0, -1.3}, {1.2, 0.8}, {-1.2, 0.8}});
            case 3:
                return polygon({{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}});
            default:
                return polygon({{0, 1.3}, {1.2, -0.8}, {-1.2, -0.8}});
        }
    }

    std::string finish(double width, double height, std::string_view title) const {
        return fmt::format(
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
                   "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" font-family=\"system-ui, -apple-system, 'Segoe UI', "
                   "Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\">\n<title>{2}</title>\n"
                   "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
                   width, height, svg_escape(title)) +
               body_ + "</svg>\n";
    }

private:
    std::string body_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
