#pragma once
/// Drawing a chart that has been laid out.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "rlgaf/io/detail/chart_colours.hpp"
#include "rlgaf/io/detail/chart_layout.hpp"
#include "rlgaf/io/detail/svg.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// After the colours of one round the same come again with another dash.
inline constexpr std::array<std::string_view, 4> chart_dashes = {"", "7 4", "2 4", "9 3 2 3"};

class chart_drawing : private chart_layout {
public:
    using chart_layout::chart_layout;

    std::string draw() {
        draw_frame();
        draw_series();
        draw_labels();
        std::string name = chart_.title.empty() ? chart_.y_label : chart_.title;
        return svg_.finish(chart_.width, height_, name.empty() ? "chart" : name);
    }

private:
    struct side_label {
        double wanted;  ///< y in pixels
        std::string text;
        std::size_t series;  ///< or `none` for a reference line
        bool joined;         ///< with what ends at the right edge
    };
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    static std::string_view colour(std::size_t series) { return chart_colours[series % chart_colours.size()]; }
    static std::string dash(std::size_t series) {
        const std::string_view d = chart_dashes[series / chart_colours.size() % chart_dashes.size()];
        return d.empty() ? "" : fmt::format(R"( stroke-dasharray="{}")", d);
    }

    void draw_frame() {
        for (std::size_t i = 0; i < title_.size() && !chart_.title.empty(); ++i)
            svg_.text(margin, margin + 12 + 22 * static_cast<double>(i), "start",
                      R"(font-size="17" font-weight="600" fill="#1a1a1a")", title_[i]);
        if (!chart_.y_label.empty())
            svg_.text(margin, title_end_ + 16, "start", R"(font-size="13" fill="#595959")", chart_.y_label);
        for (const double t : y_.ticks) {
            svg_.line(left_, y_pixel(t), right_, y_pixel(t), R"(stroke="#e6e6e6" stroke-width="1")");
            svg_.text(left_ - 8, y_pixel(t) + 4, "end", R"(font-size="12" fill="#595959")", y_.label(t));
        }
        svg_.line(left_, bottom_, right_, bottom_, R"(stroke="#8c8c8c" stroke-width="1")");
        for (const double t : x_.ticks) {
            svg_.line(x_pixel(t), bottom_, x_pixel(t), bottom_ + 5, R"(stroke="#8c8c8c" stroke-width="1")");
            svg_.text(x_pixel(t), bottom_ + 19, "middle", R"(font-size="12" fill="#595959")", x_.label(t));
        }
        if (!chart_.x_label.empty())
            svg_.text((left_ + right_) / 2, bottom_ + 39, "middle", R"(font-size="13" fill="#595959")", chart_.x_label);
        double y = height_ - margin + 6 - 17 * static_cast<double>(caption_.size() - 1);
        for (const std::string& line : caption_) {
            if (!chart_.caption.empty()) svg_.text(margin, y, "start", R"(font-size="12" fill="#6b6b6b")", line);
            y += 17;
        }
        constexpr std::string_view style = R"(stroke="#7a7a7a" stroke-width="1.2" stroke-dasharray="5 4")";
        for (const chart_reference& r : chart_.horizontal)
            if (inside(r.value, y_)) svg_.line(left_, y_pixel(r.value), right_, y_pixel(r.value), style);
        const auto text_y = [&](std::size_t i) { return top_ - 8 - 16 * static_cast<double>(vertical_labels_[i].row); };
        for (std::size_t i = 0; i < chart_.vertical.size(); ++i) {
            const double x = x_pixel(chart_.vertical[i].value);
            if (inside(chart_.vertical[i].value, x_)) svg_.line(x, text_y(i) + 4, x, bottom_, style);
        }
        for (std::size_t i = 0; i < chart_.vertical.size(); ++i)  // above all lines
            if (inside(chart_.vertical[i].value, x_))
                svg_.text(vertical_labels_[i].x, text_y(i), "middle",
                          R"(font-size="12" fill="#595959" stroke="#ffffff" stroke-width="5" paint-order="stroke")",
                          vertical_labels_[i].text);
    }

    void draw_series() {
        svg_.raw(fmt::format(
            R"(<clipPath id="plot"><rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/></clipPath>)", left_,
            top_ - 3, right_ - left_, bottom_ - top_ + 6));
        svg_.raw(R"svg(<g clip-path="url(#plot)">)svg");
        for (std::size_t k = 0; k < chart_.series.size(); ++k) draw_band(chart_.series[k], k);
        for (std::size_t k = 0; k < chart_.series.size(); ++k) {
            const chart_series& s = chart_.series[k];
            std::string path;
            bool pen = false;
            for (std::size_t i = 0; i < s.x.size(); ++i) {
                if (drawn(s, i))
                    path += fmt::format("{}{:.2f} {:.2f}", pen ? "L" : "M", x_pixel(s.x[i]), y_pixel(s.y[i]));
                pen = drawn(s, i);
            }
            if (s.line && !path.empty())
                svg_.raw(fmt::format(
                    R"(<path d="{}" fill="none" stroke="{}" stroke-width="2.2" stroke-linejoin="round" stroke-linecap="round"{}/>)",
                    path, colour(k), dash(k)));
            if (!s.markers) continue;
            const std::string style =
                fmt::format(R"(fill="{}" fill-opacity="0.85" stroke="#ffffff" stroke-width="0.8")", colour(k));
            for (std::size_t i = 0; i < s.x.size(); ++i)
                if (drawn(s, i)) svg_.marker(k, x_pixel(s.x[i]), y_pixel(s.y[i]), 4.2, style);
        }
        svg_.raw("</g>");
    }
    void draw_band(const chart_series& s, std::size_t k) {
        for (std::size_t begin = 0; begin < s.low.size(); ++begin) {
            std::size_t end = begin;
            while (end < s.low.size() && banded(s, end)) ++end;
            if (end == begin) continue;
            std::string points;
            for (std::size_t i = begin; i < end; ++i)
                points += fmt::format("{:.2f},{:.2f} ", x_pixel(s.x[i]), y_pixel(s.high[i]));
            for (std::size_t i = end; i-- > begin;)
                points += fmt::format("{:.2f},{:.2f} ", x_pixel(s.x[i]), y_pixel(s.low[i]));
            svg_.raw(fmt::format(R"(<polygon points="{}" fill="{}" fill-opacity="0.16"/>)", points, colour(k)));
            begin = end;
        }
    }

    /// Names to the right of the plot, at the heights where the lines end, moved apart.
    void draw_labels() {
        std::vector<side_label> labels;
        for (std::size_t k = 0; k < chart_.series.size(); ++k) {
            const chart_series& s = chart_.series[k];
            if (s.name.empty()) continue;
            double wanted = (top_ + bottom_) / 2, sum = 0, count = 0;
            bool joined = false;
            for (std::size_t i = 0; i < s.x.size(); ++i) {
                if (!drawn(s, i)) continue;
                sum += y_pixel(s.y[i]), ++count;
                wanted = y_pixel(s.y[i]);
                joined = s.line && x_pixel(s.x[i]) > right_ - 0.05 * (right_ - left_) && inside(s.y[i], y_) &&
                         inside(s.x[i], x_);
            }
            if (!s.line && count > 0) wanted = sum / count;
            labels.push_back({std::clamp(wanted, top_, bottom_), s.name, k, joined});
        }
        for (const chart_reference& r : chart_.horizontal)
            if (!r.label.empty() && inside(r.value, y_)) labels.push_back({y_pixel(r.value), r.label, none, true});
        std::vector<double> wanted;
        for (const side_label& l : labels) wanted.push_back(l.wanted);
        const std::vector<double> y = spread(wanted, label_gap, top_ + 4, bottom_ - 4);
        for (std::size_t i = 0; i < labels.size(); ++i) draw_label(labels[i], y[i]);
    }
    void draw_label(const side_label& l, double y) {
        const double x = right_ + 14;
        const std::string_view stroke = l.series == none ? "#7a7a7a" : colour(l.series);
        if (l.joined && std::abs(l.wanted - y) < 3 * label_gap)
            svg_.line(right_ + 2, l.wanted, x - 2, y,
                      fmt::format(R"(stroke="{}" stroke-width="1" opacity="0.6")", stroke));
        if (l.series == none)
            svg_.line(x, y, x + swatch, y, R"(stroke="#7a7a7a" stroke-width="1.2" stroke-dasharray="5 4")");
        else {
            const chart_series& s = chart_.series[l.series];
            if (s.line)
                svg_.line(x, y, x + swatch, y,
                          fmt::format(R"(stroke="{}" stroke-width="3"{})", stroke, dash(l.series)));
            if (s.markers) svg_.marker(l.series, x + swatch / 2, y, 4.2, fmt::format(R"(fill="{}")", stroke));
        }
        svg_.text(x + swatch + 6, y + 4.5, "start",
                  l.series == none ? R"(font-size="13" fill="#595959")" : R"(font-size="13" fill="#262626")",
                  shortened(l.text, font, label_width_));
    }

    svg svg_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
