#pragma once
/// What a chart shows; `io/chart.hpp` draws it.
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Points that belong together. A point with a NaN or an infinity is left out, and a line is broken there.
struct chart_series {
    std::string name = {};  ///< shown beside the end of the line, or beside the plot
    std::vector<double> x = {}, y = {};
    bool line = true;                         ///< join the points in their order
    bool markers = false;                     ///< draw the points
    std::vector<double> low = {}, high = {};  ///< a band around the line, such as an interval over seeds; empty: none
};

/// A dashed line across the plot.
struct chart_reference {
    double value = 0;
    std::string label = {};
};

struct chart {
    std::string title = {};
    std::string caption = {};  ///< below; wrapped
    std::string x_label = {}, y_label = {};
    std::vector<chart_series> series = {};
    std::vector<chart_reference> horizontal = {};  ///< at values of y
    std::vector<chart_reference> vertical = {};    ///< at values of x
    std::optional<double> x_min = {}, x_max = {};  ///< ends of the axes; found from the data where they are not given
    std::optional<double> y_min = {}, y_max = {};
    double width = 860, height = 480;  ///< pixels, 320..4000 and 240..4000; many series make it higher

    /// Errors: shape_error, option_error.
    void check() const {
        for (const chart_series& s : series) {
            const std::string name = "series '" + s.name + "'";
            detail::check_size(s.y.size(), s.x.size(), "chart", (name + ".y").c_str());
            if (!s.low.empty() || !s.high.empty()) {
                detail::check_size(s.low.size(), s.x.size(), "chart", (name + ".low").c_str());
                detail::check_size(s.high.size(), s.x.size(), "chart", (name + ".high").c_str());
            }
        }
        detail::check_option(width >= 320 && width <= 4000, "chart", "width", "320..4000", width);
        detail::check_option(height >= 240 && height <= 4000, "chart", "height", "240..4000", height);
        const auto check_end = [](const std::optional<double>& end, const char* field) {
            if (end) detail::check_option(*end - *end == 0, "chart", field, "a finite number", *end);
        };
        check_end(x_min, "x_min"), check_end(x_max, "x_max"), check_end(y_min, "y_min"), check_end(y_max, "y_max");
        if (x_min && x_max) detail::check_option(*x_min < *x_max, "chart", "x_max", "more than x_min", *x_max);
        if (y_min && y_max) detail::check_option(*y_min < *y_max, "chart", "y_max", "more than y_min", *y_max);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
