#pragma once
/// Drawing an interval chart.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "rlgaf/io/detail/axis.hpp"
#include "rlgaf/io/detail/chart_colours.hpp"
#include "rlgaf/io/detail/svg.hpp"
#include "rlgaf/io/interval_chart_data.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// Where values and their intervals lie, without those that are more than three interquartile ranges from the quartiles
/// (Tukey 1977). Contains the reference.
struct interval_range {
    double low, high;
    explicit interval_range(const interval_chart& c) : low(c.reference), high(c.reference) {
        std::vector<double> value;
        for (const interval_group& g : c.groups)
            for (const interval_row& r : g.rows)
                if (std::isfinite(r.value)) value.push_back(r.value);
        if (value.empty()) return;
        std::sort(value.begin(), value.end());
        const double q1 = value[value.size() / 4], q3 = value[value.size() - 1 - value.size() / 4];
        const double least = q1 - 3 * (q3 - q1), most = q3 + 3 * (q3 - q1);
        for (const interval_group& g : c.groups)
            for (const interval_row& r : g.rows) {
                if (!(r.value >= least && r.value <= most)) continue;
                for (const double x : {r.value, r.low, r.high})
                    if (std::isfinite(x))
                        low = std::min(low, std::max(x, least)), high = std::max(high, std::min(x, most));
            }
    }
};

class interval_drawing {
public:
    explicit interval_drawing(const interval_chart& c) : chart_(c) {
        const interval_range range(c);
        const double room = 0.03 * (range.high - range.low);
        x_ = axis::fit(range.low - room, range.high + room, std::max(3.0, (c.width - 300) / 80), true,
                       c.x_min ? &*c.x_min : nullptr, c.x_max ? &*c.x_max : nullptr);
        double names = 0, notes = 0;
        for (const interval_group& g : c.groups) {
            names = std::max(names, text_pixels(g.name, heading_font));
            for (const interval_row& r : g.rows)
                names = std::max(names, text_pixels(r.name, small)),
                notes = std::max(notes, text_pixels(r.note, small));
        }
        names_ = std::min(names, 0.36 * c.width), notes_ = std::min(notes, 0.2 * c.width);
        left_ = margin + names_ + 12, right_ = c.width - margin - (notes > 0 ? notes_ + 12 : 0);
    }

    std::string draw() {
        double y = margin - 4;
        for (const std::string& line :
             chart_.title.empty() ? std::vector<std::string>{} : wrapped(chart_.title, 17, chart_.width - 2 * margin))
            svg_.text(margin, y += 20, "start", R"(font-size="17" font-weight="600" fill="#1a1a1a")", line);
        const double top = y + 16;
        double bottom = top;
        for (const interval_group& g : chart_.groups)
            bottom += (g.name.empty() ? 0 : heading) + pitch * static_cast<double>(g.rows.size());
        for (const double t : x_.ticks) {
            svg_.line(pixel(t), top, pixel(t), bottom + 4, R"(stroke="#e4e4e4" stroke-width="1")");
            svg_.text(pixel(t), bottom + 20, "middle", R"(font-size="12" fill="#595959")", x_.label(t));
        }
        if (chart_.reference >= x_.low && chart_.reference <= x_.high)
            svg_.line(pixel(chart_.reference), top, pixel(chart_.reference), bottom + 4,
                      R"(stroke="#7a7a7a" stroke-width="1.2" stroke-dasharray="5 4")");
        svg_.line(left_, bottom + 4, right_, bottom + 4, R"(stroke="#8c8c8c" stroke-width="1")");
        double row = top;
        for (std::size_t k = 0; k < chart_.groups.size(); ++k) {
            if (!chart_.groups[k].name.empty())
                svg_.text(margin, (row += heading) - 6, "start", R"(font-size="13" font-weight="600" fill="#262626")",
                          shortened(chart_.groups[k].name, heading_font, names_));
            for (const interval_row& r : chart_.groups[k].rows) draw_row(r, k, (row += pitch) - pitch / 2);
        }
        y = bottom + 40;
        if (!chart_.x_label.empty())
            svg_.text((left_ + right_) / 2, y, "middle", R"(font-size="13" fill="#404040")", chart_.x_label);
        if (!chart_.caption.empty()) {
            y += chart_.x_label.empty() ? 0 : 12;
            for (const std::string& line : wrapped(chart_.caption, small, chart_.width - 2 * margin))
                svg_.text(margin, y += 17, "start", R"(font-size="12" fill="#6b6b6b")", line);
        }
        return svg_.finish(chart_.width, std::ceil(y + margin - 8), chart_.title.empty() ? "chart" : chart_.title);
    }

private:
    static constexpr double small = 12, heading_font = 13, margin = 22, pitch = 16, heading = 26;

    double pixel(double value) const { return left_ + x_.position(value) * (right_ - left_); }

    void draw_row(const interval_row& r, std::size_t group, double y) {
        svg_.text(left_ - 10, y + 4, "end", R"(font-size="12" fill="#262626")", shortened(r.name, small, names_));
        svg_.text(chart_.width - margin, y + 4, "end", R"(font-size="12" fill="#6b6b6b")",
                  shortened(r.note, small, notes_));
        if (!std::isfinite(r.value)) return;
        const std::string_view colour = chart_colours[group % chart_colours.size()];
        const double low = std::max(r.low, x_.low), high = std::min(r.high, x_.high);
        if (std::isfinite(r.low) && std::isfinite(r.high) && low < high)
            svg_.line(pixel(low), y, pixel(high), y, fmt::format(R"(stroke="{}" stroke-width="2")", colour));
        const bool left = r.value<x_.low, right = r.value> x_.high;
        if (left || r.low < x_.low) arrow(left_, -1, left ? 8 : 5, y, colour);
        if (right || r.high > x_.high) arrow(right_, 1, right ? 8 : 5, y, colour);
        if (left || right) {
            svg_.text(left ? left_ + 13 : right_ - 13, y + 4, left ? "start" : "end",
                      R"(font-size="12" fill="#262626" stroke="#ffffff" stroke-width="4" paint-order="stroke")",
                      std::isfinite(r.low) && std::isfinite(r.high)
                          ? fmt::format("{} [{}, {}]", number(r.value), number(r.low), number(r.high))
                          : number(r.value));
            return;
        }
        const bool apart = r.low > chart_.reference || r.high < chart_.reference;
        svg_.marker(0, pixel(r.value), y, 4,
                    fmt::format(R"(fill="{}" stroke="{}" stroke-width="1.6")", apart ? colour : "#ffffff", colour));
    }
    void arrow(double tip, double side, double size, double y, std::string_view colour) {
        svg_.raw(fmt::format(R"(<polygon points="{0:.2f},{1:.2f} {2:.2f},{3:.2f} {2:.2f},{4:.2f}" fill="{5}"/>)", tip,
                             y, tip - side * size, y - 0.55 * size, y + 0.55 * size, colour));
    }
    /// Signed, with one decimal more than the axis has.
    std::string number(double value) const {
        const int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(x_.step) + 1e-9)) + 1, 0, 9);
        return fmt::format("{}{:.{}f}", value < 0 ? "−" : "+", std::abs(value), decimals);
    }

    const interval_chart& chart_;
    axis x_;
    double names_ = 0, notes_ = 0, left_ = 0, right_ = 0;
    svg svg_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
