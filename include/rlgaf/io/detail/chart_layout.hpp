#pragma once
/// Where everything of a chart goes.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rlgaf/io/chart_data.hpp"
#include "rlgaf/io/detail/axis.hpp"
#include "rlgaf/io/detail/svg.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// Sizes and places in pixels.
class chart_layout {
public:
    explicit chart_layout(const chart& c) : chart_(c) {
        fit_axes();
        place();
    }

protected:
    static constexpr double font = 13, small = 12, title_font = 17, margin = 22, label_gap = 18, swatch = 20;

    static bool drawn(const chart_series& s, std::size_t i) { return std::isfinite(s.x[i]) && std::isfinite(s.y[i]); }
    static bool banded(const chart_series& s, std::size_t i) {
        return !s.low.empty() && std::isfinite(s.x[i]) && std::isfinite(s.low[i]) && std::isfinite(s.high[i]);
    }

    void fit_axes() {
        const double inf = std::numeric_limits<double>::infinity();
        double x_low = inf, x_high = -inf, y_low = inf, y_high = -inf;
        const auto take = [](double value, double& low, double& high) {
            if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
        };
        bool scatter = false;
        for (const chart_series& s : chart_.series) {
            scatter = scatter || s.markers;
            for (std::size_t i = 0; i < s.x.size(); ++i) {
                if (drawn(s, i)) take(s.x[i], x_low, x_high), take(s.y[i], y_low, y_high);
                if (banded(s, i)) take(s.low[i], y_low, y_high), take(s.high[i], y_low, y_high);
            }
        }
        for (const chart_reference& r : chart_.vertical) take(r.value, x_low, x_high);
        for (const chart_reference& r : chart_.horizontal) take(r.value, y_low, y_high);
        if (scatter && x_low < x_high) {  // no marker on the frame
            const double room = 0.03 * (x_high - x_low);
            x_low -= room, x_high += room;
        }
        const auto given = [](const std::optional<double>& end) { return end ? &*end : nullptr; };
        x_ = axis::fit(x_low, x_high, std::max(3.0, (chart_.width - 200) / 90), true, given(chart_.x_min),
                       given(chart_.x_max));
        y_ = axis::fit(y_low, y_high, std::max(3.0, (chart_.height - 140) / 55), false, given(chart_.y_min),
                       given(chart_.y_max));
    }

    /// Sizes of everything around the plot, from the texts in it.
    void place() {
        std::size_t labels = 0;
        double label_width = 0;
        for (const chart_series& s : chart_.series)
            if (!s.name.empty()) ++labels, label_width = std::max(label_width, text_pixels(s.name, font));
        for (const chart_reference& r : chart_.horizontal)
            if (!r.label.empty()) ++labels, label_width = std::max(label_width, text_pixels(r.label, font));
        label_width_ = std::min(label_width, 0.36 * chart_.width);
        double tick_width = 0;
        for (const double t : y_.ticks) tick_width = std::max(tick_width, text_pixels(y_.label(t), small));
        left_ = margin + tick_width + 10;
        right_ = chart_.width - margin - (labels > 0 ? label_width_ + swatch + 22 : 6);

        double y = margin - 4;
        title_ = wrapped(chart_.title, title_font, chart_.width - 2 * margin);
        if (!chart_.title.empty()) y += 22 * static_cast<double>(title_.size());
        title_end_ = y;
        if (!chart_.y_label.empty()) y += 22;
        place_vertical_labels();
        top_ = y + 12 + 16 * static_cast<double>(vertical_rows_);

        caption_ = wrapped(chart_.caption, small, chart_.width - 2 * margin);
        below_ = 24 + (chart_.x_label.empty() ? 0 : 20) +
                 (chart_.caption.empty() ? 0 : 10 + 17 * static_cast<double>(caption_.size())) + margin - 8;
        const double plot = std::max({chart_.height - top_ - below_, 120.0, label_gap * static_cast<double>(labels)});
        bottom_ = top_ + plot;
        height_ = std::ceil(bottom_ + below_);
    }

    /// Above the plot, in the first row in which it covers no other.
    void place_vertical_labels() {
        std::vector<std::vector<std::pair<double, double>>> rows;
        for (const chart_reference& r : chart_.vertical) {
            const std::string label = shortened(r.label, small, right_ - left_);
            const double half = text_pixels(label, small) / 2 + 4;
            const double centre = std::clamp(x_pixel(r.value), left_ + half, std::max(left_ + half, right_ - half));
            std::size_t row = 0;
            const auto free = [&](const auto& others) {
                return std::all_of(others.begin(), others.end(), [&](const auto& o) {
                    return centre + half <= o.first || centre - half >= o.second;
                });
            };
            while (row < rows.size() && !free(rows[row])) ++row;
            if (row == rows.size()) rows.emplace_back();
            rows[row].emplace_back(centre - half, centre + half);
            vertical_labels_.push_back({centre, row, label});
        }
        vertical_rows_ = rows.size();
    }

    double x_pixel(double value) const { return left_ + x_.position(value) * (right_ - left_); }
    double y_pixel(double value) const { return bottom_ - y_.position(value) * (bottom_ - top_); }

    static bool inside(double value, const axis& a) { return value >= a.low && value <= a.high; }

    struct vertical_label {
        double x;
        std::size_t row;
        std::string text;
    };

    const chart& chart_;
    axis x_, y_;
    std::vector<std::string> title_, caption_;
    std::vector<vertical_label> vertical_labels_;
    std::size_t vertical_rows_ = 0;
    double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0, title_end_ = 0, below_ = 0, height_ = 0, label_width_ = 0;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
